defmodule PhoenixMlTest do
  # The running application, over HTTP.
  use ExUnit.Case, async: false

  @moduletag timeout: 180_000

  # A question in words of its own, and what the passage that answers it has.
  @questions [
    {"How many days do I have to return a purchase?", "within 30 days"},
    {"When is shipping free?", "free of charge"},
    {"I lost my login", "forgotten your password"},
    {"Can I bring my puppy?", "Dogs are welcome"},
    {"Do you have a job for me?", "looking for a bookseller"},
    {"Which metro stop is near the shop?", "underground station"},
    {"My book arrived with torn pages", "damaged book"},
    {"Something to eat and drink", "Coffee and cake"},
    {"Is anything cheaper for students?", "Students and teachers"},
    {"How do I stop getting your mails?", "newsletter"}
  ]

  setup_all do
    # A connection for each of the clients.
    :ok = :httpc.set_options(max_sessions: 100, max_keep_alive_length: 100)
  end

  # Workers that a test has ended are there again.
  setup do
    Stream.repeatedly(fn -> ErlangPython.Pool.stats(:ml).idle end) |> Enum.find(&(&1 == 2))
    :ok
  end

  test "fifty clients at once get the right answers" do
    clients =
      for client <- 0..49 do
        Task.async(fn ->
          for request <- 0..3 do
            {question, expected} = Enum.at(@questions, rem(client + request, length(@questions)))
            started = System.monotonic_time(:microsecond)
            {200, body} = post("/api/search", ~s({"query": "#{question}", "top": 2}))
            took = System.monotonic_time(:microsecond) - started
            assert %{"matches" => [%{"text" => text, "score" => score}, second]} = json(body)
            assert text =~ expected
            assert score > second["score"] and score < 1
            took
          end
        end)
      end

    {micros, times} = :timer.tc(fn -> clients |> Task.await_many(:infinity) |> List.flatten() end)
    assert length(times) == 200
    sorted = Enum.sort(times)

    IO.puts(
      "200 searches by 50 clients: #{round(200 / (micros / 1.0e6))}/s, " <>
        "median #{div(Enum.at(sorted, 100), 1000)} ms, 99% #{div(Enum.at(sorted, 198), 1000)} ms"
    )
  end

  test "an answer comes in tokens" do
    [_head, body] =
      post_once("/api/answer", ~s({"query": "Can I bring my puppy?"}))
      |> String.split("\r\n\r\n", parts: 2)

    answer = "Dogs are welcome on the ground floor. Please keep them on a lead."
    assert chunks(body) == for(word <- String.split(answer), do: word <> " ")

    assert {200, "Nothing here is about that."} =
             post("/api/answer", ~s({"query": "xylophone tuning"}))
  end

  test "the health check shows the pool" do
    assert {200, body} = get("/health")

    assert %{"ready" => true, "pool" => %{"workers" => 2, "queued" => 0, "in_flight" => 0}} =
             json(body)
  end

  test "a bad request is told what is wrong with it" do
    for {body, status, sentence} <- [
          {"{", 400, "not valid JSON"},
          {<<255, 254, 0>>, 400, "not valid JSON"},
          {"", 400, "not valid JSON"},
          {"[1]", 422, "\"query\" is missing"},
          {~s({"query": 1}), 422, "\"query\" is missing"},
          {~s({"query": " "}), 422, "\"query\" is empty"},
          {~s({"query": "#{String.duplicate("a", 1001)}"}), 422, "1000 characters at most"},
          {~s({"query": "a", "top": 0}), 422, "from 1 to 20"},
          {~s({"query": "a", "top": "3"}), 422, "from 1 to 20"}
        ],
        path <- ["/api/search", "/api/answer"],
        not (path == "/api/answer" and sentence == "from 1 to 20") do
      assert {^status, said} = post(path, body)
      assert json(said)["error"] =~ sentence
    end

    assert {404, _body} = get("/nowhere")
    assert {405, _body} = get("/api/search")
  end

  test "one request too many is told to come again, and so is one that waits too long" do
    most = Application.fetch_env!(:phoenix_ml, :max_concurrent)

    sleepers =
      for _ <- 1..most,
          do: ErlangPython.async(:time, :sleep, [600], pool: :ml, timeout: :infinity)

    open = fn -> ErlangPython.Pool.stats(:ml) |> then(&(&1.queued + &1.in_flight)) end
    Stream.repeatedly(open) |> Enum.find(&(&1 == most))

    for path <- ["/api/search", "/api/answer"] do
      said = post_once(path, ~s({"query": "dogs"}))
      assert said =~ ~r"^HTTP/1.1 503 .*retry-after: 1\r\n.*please try again"is
    end

    # The health check needs no Python.
    assert {200, body} = get("/health")
    assert json(body)["pool"]["busy"] == 2

    # Room again for a few, which no worker gets to.
    {ended, others} = Enum.split(Enum.reverse(sleepers), 10)
    Enum.each(ended, &Task.shutdown(&1, :brutal_kill))
    Stream.repeatedly(open) |> Enum.find(&(&1 == most - 10))

    with_setting(:timeout, 300, fn ->
      assert {504, body} = post("/api/search", ~s({"query": "dogs"}))
      assert json(body)["error"] =~ "too long"
      assert {504, _body} = post("/api/answer", ~s({"query": "dogs"}))
    end)

    Enum.each(others, &Task.shutdown(&1, :brutal_kill))
    assert {200, _body} = post("/api/search", ~s({"query": "dogs"}))
  end

  @tag :capture_log
  test "Python that dies fails one request, and the next one works" do
    before = pids()

    # A fault in C code, in the middle of a search; the workers that take their place have the module as it is.
    fault = """
    import ctypes, search
    search.search = lambda query, top=3: ctypes.string_at(0)
    """

    {:ok, _results} = ErlangPython.Pool.broadcast(:ml, {:exec, fault})

    for _worker <- 1..2 do
      assert {500, body} = post("/api/search", ~s({"query": "dogs"}))
      assert json(body) == %{"error" => "the model failed"}
    end

    assert {200, body} = post("/api/search", ~s({"query": "Can I bring my puppy?"}))
    assert hd(json(body)["matches"])["text"] =~ "Dogs are welcome"
    assert Enum.all?(pids(), &(&1 not in before))
  end

  @tag :capture_log
  test "an answer that fails in the middle breaks off, and one that nobody reads is stopped" do
    replace_answer("""
    def answer(question):
        yield "so far, so "
        raise ValueError("bad")
    """)

    said = post_once("/api/answer", ~s({"query": "dogs"}))
    assert said =~ "HTTP/1.1 200 OK"
    assert String.ends_with?(said, "B\r\nso far, so \r\n")

    replace_answer("""
    import time
    closed = False

    def answer(question):
        global closed
        try:
            while True:
                time.sleep(0.001)
                yield "and so on "
        finally:
            closed = True
    """)

    socket = send_post("/api/answer", ~s({"query": "dogs"}))
    assert {:ok, "HTTP/1.1 200 OK" <> _more} = :gen_tcp.recv(socket, 0, 120_000)
    :ok = :gen_tcp.close(socket)

    closed? = fn ->
      {:ok, workers} = ErlangPython.Pool.broadcast(:ml, {:eval, "answers.closed"})
      Enum.any?(workers, &match?({_id, {:ok, true}}, &1))
    end

    Stream.repeatedly(closed?) |> Enum.find(& &1)
    :ok = ErlangPython.Pool.restart(:ml)
  end

  defp replace_answer(code) do
    code = "import answers\nexec(#{inspect(code)}, answers.__dict__)"
    {:ok, workers} = ErlangPython.Pool.broadcast(:ml, {:exec, code})
    assert Enum.all?(workers, &match?({_id, {:ok, nil}}, &1))
  end

  test "Ollama's tokens are passed on as they come" do
    # Ollama itself is too large to be here: a server that says what its documentation shows.
    {:ok, _pid} =
      ErlangPython.Pool.start_link(
        name: :chat,
        workers: 1,
        python: ErlangPython.Env.uv(pyproject()),
        paths: paths()
      )

    ErlangPython.exec!(
      """
      import http.server, json, threading
      asked = []

      class Ollama(http.server.BaseHTTPRequestHandler):
          def do_POST(self):
              body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
              asked.append((self.path, body))
              self.send_response(200)
              self.end_headers()
              lines = [{"message": {"content": token}, "done": False} for token in ("Thirty ", "days.")]
              last = {"error": "out of memory"} if body["model"] == "broken" else {"message": {"content": ""}, "done": True}
              for line in [*lines, last]:
                  self.wfile.write(json.dumps(line).encode() + b"\\n")

          def log_message(self, *arguments):
              pass

      server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ollama)
      threading.Thread(target=server.serve_forever, daemon=True).start()
      """,
      %{},
      pool: :chat
    )

    port = ErlangPython.eval!("server.server_port", %{}, pool: :chat)

    ask =
      &ErlangPython.stream(
        :ollama_chat,
        :chat,
        ["http://127.0.0.1:#{port}/", &1, &2],
        pool: :chat
      )

    question = [
      %{"role" => "system", "content" => "Be short."},
      %{"role" => "user", "content" => "How long?"}
    ]

    assert "llama3.2" |> ask.(question) |> Enum.to_list() == ["Thirty ", "days."]

    # The next turn, with all before it.
    conversation =
      question ++
        [
          %{"role" => "assistant", "content" => "Thirty days."},
          %{"role" => "user", "content" => "And a book?"}
        ]

    assert "llama3.2" |> ask.(conversation) |> Enum.to_list() == ["Thirty ", "days."]

    assert ErlangPython.eval!("[list(pair) for pair in asked]", %{}, pool: :chat) ==
             for(
               messages <- [question, conversation],
               do: [
                 "/api/chat",
                 %{"model" => "llama3.2", "stream" => true, "messages" => messages}
               ]
             )

    error =
      assert_raise ErlangPython.Error, fn -> "broken" |> ask.(question) |> Enum.to_list() end

    assert error.message == "Ollama: out of memory"
    ErlangPython.Pool.stop(:chat)
  end

  defp pyproject, do: File.read!("priv/python/pyproject.toml")
  defp paths, do: [Path.expand("priv/python")]
  defp pids, do: for(worker <- ErlangPython.Pool.workers(:ml), do: worker.os_pid)

  defp with_setting(key, value, fun) do
    old = Application.fetch_env!(:phoenix_ml, key)
    Application.put_env(:phoenix_ml, key, value)

    try do
      fun.()
    after
      Application.put_env(:phoenix_ml, key, old)
    end
  end

  defp chunks(body) do
    [size, rest] = String.split(body, "\r\n", parts: 2)

    case String.to_integer(size, 16) do
      0 ->
        []

      size ->
        {chunk, "\r\n" <> rest} = :erlang.split_binary(rest, size)
        [chunk | chunks(rest)]
    end
  end

  defp url(path), do: ~c"http://127.0.0.1:#{PhoenixMl.Front.port()}#{path}"
  defp json(body), do: ErlangPython.call!(:json, :loads, [body])

  defp get(path) do
    {:ok, {{_version, status, _reason}, _headers, body}} =
      :httpc.request(:get, {url(path), []}, [], body_format: :binary)

    {status, body}
  end

  defp post(path, body) do
    {:ok, {{_version, status, _reason}, _headers, body}} =
      :httpc.request(:post, {url(path), [], ~c"application/json", body}, [timeout: 120_000],
        body_format: :binary
      )

    {status, body}
  end

  # Without httpc, which does what `retry-after` says, as often as it takes.
  defp post_once(path, body), do: path |> send_post(body) |> receive_all("")

  defp send_post(path, body) do
    {:ok, socket} =
      :gen_tcp.connect(~c"127.0.0.1", PhoenixMl.Front.port(), [:binary, active: false])

    head = "POST #{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    :ok = :gen_tcp.send(socket, [head, "content-length: #{byte_size(body)}\r\n\r\n", body])
    socket
  end

  defp receive_all(socket, text) do
    case :gen_tcp.recv(socket, 0, 120_000) do
      {:ok, more} -> receive_all(socket, text <> more)
      {:error, :closed} -> text
    end
  end
end
