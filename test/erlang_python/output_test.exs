defmodule ErlangPython.OutputTest do
  # What Python prints and who gets it. Not async: some of it is for the Logger.
  use ErlangPython.PoolCase, async: false

  import ExUnit.{CaptureIO, CaptureLog}

  alias ErlangPython.Pool.Directory

  defp output_pool(options \\ []),
    do: start_pool(Keyword.merge([workers: 1, stdout: :caller], options))

  defp captured(pool, code, bindings \\ %{}) do
    capture_io(fn -> assert {:ok, _value} = ErlangPython.run(code, bindings, pool: pool) end)
  end

  @threads """
  import sys, threading

  def work(number):
      for index in range(2_500):
          print(who, number, index, file=sys.stderr if index % 2 else sys.stdout)

  threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
  for thread in threads: thread.start()
  for thread in threads: thread.join()
  print(who, "end")
  """

  for channel <- [:direct, :pyzmq], workers <- [1, 2] do
    test "two callers at once get 10,000 lines each from threads, their own, in order (#{channel}, #{workers})" do
      pool = output_pool(workers: unquote(workers), channel: unquote(channel))

      texts =
        ["a", "b"]
        |> Enum.map(fn who ->
          Task.async(fn -> {who, captured(pool, @threads, %{who: who})} end)
        end)
        |> Task.await_many(60_000)

      for {who, text} <- texts do
        lines = String.split(text, "\n", trim: true)
        assert length(lines) == 10_001
        assert List.last(lines) == who <> " end"

        for number <- 0..3 do
          mine = Enum.filter(lines, &String.starts_with?(&1, "#{who} #{number} "))
          assert mine == Enum.map(0..2_499, &"#{who} #{number} #{&1}")
        end
      end
    end
  end

  test "it comes before the reply, also without the end of a line" do
    pool = output_pool()

    text =
      capture_io(fn ->
        for n <- 1..300 do
          {:ok, ^n} = ErlangPython.run("print('py', n, end='|')\nn", %{n: n}, pool: pool)
          IO.write("ex #{n}|")
        end
      end)

    assert text == Enum.map_join(1..300, &"py #{&1}|ex #{&1}|")
  end

  test "what was printed before an error, an interrupt or a timeout comes too" do
    pool = output_pool()

    assert capture_io(fn ->
             {:error, %Error{kind: :python}} =
               ErlangPython.exec("print('é')\n1 / 0", %{}, pool: pool)
           end) == "é\n"

    code =
      "import sys, time\nsys.stderr.write('half')\ntry:\n time.sleep(60)\nfinally:\n print('end')"

    assert capture_io(fn ->
             {:error, %Error{kind: :timeout}} =
               ErlangPython.exec(code, %{}, pool: pool, timeout: 300)

             await_whole(pool, 1)
           end) =~ "end\n"
  end

  test "coroutines, their threads, streams and nested calls print for their callers" do
    pool = output_pool(workers: 2)

    coroutine = """
    import asyncio
    async def f():
        print("in the loop")
        await asyncio.to_thread(print, "in its thread")
        await asyncio.sleep(0)
        print("half", end="")
    f()
    """

    assert captured(pool, coroutine) == "in the loop\nin its thread\nhalf"

    assert capture_io(fn ->
             code = "(print('item', n) or n for n in range(3))"

             assert [0, 1, 2] =
                      code |> ErlangPython.stream_eval(%{}, pool: pool) |> Enum.to_list()
           end) == "item 0\nitem 1\nitem 2\n"

    deeper = fn -> ErlangPython.run!("print('deeper')", %{}, pool: pool) end
    assert captured(pool, "f()\nprint('after')", %{f: deeper}) == "deeper\nafter\n"
  end

  test "a thread of an executor prints for the request that submitted its work" do
    pool = output_pool()

    start = """
    from concurrent.futures import ThreadPoolExecutor
    threads = ThreadPoolExecutor(1)
    threads.submit(print, "first").result()
    """

    assert captured(pool, start) == "first\n"
    assert captured(pool, "threads.submit(print, 'second').result()") == "second\n"
  end

  test "what belongs to no request, or to one that has ended, goes to the Logger" do
    pool = output_pool()

    code = """
    import os, threading
    go = threading.Event()
    def late():
        go.wait()
        print("late")
        print("late half", end="")
        os.write(2, b" and low\\n")
    thread = threading.Thread(target=late)
    thread.start()
    os.write(1, b"low level\\n")
    """

    log =
      capture_log([metadata: [:worker]], fn ->
        assert captured(pool, code) == ""
        assert captured(pool, "go.set()\nthread.join()") == ""
        eventually_logged(pool)
      end)

    for line <- ["low level", "late", "late half and low"], do: assert(log =~ line)
    assert log =~ "worker=#{pool}-1"
  end

  # The printer logs in order: when this line is there, so are those before it.
  defp eventually_logged(pool) do
    until_logged("last", fn ->
      ErlangPython.exec("import os; os.write(1, b'last\\n')", %{}, pool: pool)
    end)
  end

  defp until_logged(line, fun) do
    handler = {:output_test, self()} |> inspect() |> String.to_atom()
    :ok = :logger.add_handler(handler, __MODULE__, %{test: self()})
    fun.()
    assert_receive {:logged, ^line}, 10_000
    :logger.remove_handler(handler)
  end

  @doc false
  def log(event, %{test: test, events: true}), do: send(test, {:event, event})
  def log(%{msg: {:string, text}}, %{test: test}), do: send(test, {:logged, to_string(text)})
  def log(_event, _config), do: :ok

  test "a group leader that takes nothing holds nobody up, and what is too much is left out" do
    pool = output_pool()
    test = self()

    stuck =
      spawn_link(fn ->
        receive do
          :take -> take(test)
        end
      end)

    caller =
      Task.async(fn ->
        Process.group_leader(self(), stuck)
        code = "for n in range(30_000): print('x' * 999)\n1"
        ErlangPython.run(code, %{}, pool: pool, timeout: :infinity)
      end)

    assert Task.await(caller, 60_000) == {:ok, 1}
    assert {:message_queue_len, waiting} = Process.info(stuck, :message_queue_len)
    assert waiting < 20_000
    assert {:ok, 2} = ErlangPython.eval("1 + 1", %{}, pool: pool)
    send(stuck, :take)
    assert_receive {:note, note}, 10_000
    left_out = (30_000 - waiting) * 1_000
    assert note == "[#{left_out} bytes left out: more than could be written]\n"
  end

  defp take(test) do
    receive do
      {:io_request, from, ref, {:put_chars, :unicode, text}} ->
        send(from, {:io_reply, ref, :ok})
        if text =~ "left out", do: send(test, {:note, text})
        take(test)
    end
  end

  test "a group leader that has not answered yet outlives the worker" do
    pool = output_pool()
    leader = start_supervised!({Agent, fn -> nil end})
    # It answers nothing meanwhile, but keeps what it got.
    :sys.suspend(leader)

    caller =
      Task.async(fn ->
        Process.group_leader(self(), leader)
        code = "print('last words', flush=True)\nimport os\nos._exit(1)"
        ErlangPython.exec(code, %{}, pool: pool)
      end)

    assert {:error, %{kind: :worker_exit}} = Task.await(caller)
    # The next worker is there: the readers of the first have ended.
    assert {:ok, 2} = ErlangPython.eval("1 + 1", %{}, pool: pool)
    assert Process.alive?(leader)
  end

  test "a caller without a group leader that lives loses nothing" do
    pool = output_pool()

    log =
      capture_log(fn ->
        leader = spawn(fn -> :ok end)

        Task.async(fn ->
          Process.group_leader(self(), leader)
          ErlangPython.run!("print('to nobody')", %{}, pool: pool)
        end)
        |> Task.await()

        eventually_logged(pool)
      end)

    assert log =~ "to nobody"
  end

  test "logging becomes the Logger's, with the caller's metadata" do
    pool = output_pool()

    code = """
    import logging
    log = logging.getLogger("shop.cart")
    log.info("quiet")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("no price")
    """

    events =
      events(pool, fn ->
        Logger.metadata(request: 7)
        ErlangPython.run!(code, %{}, pool: pool, file: "cart.py", line: 10)
      end)

    assert [%{level: :error, msg: {:string, text}, meta: meta}] = events
    text = to_string(text)
    assert text =~ ~r/\Ano price\nTraceback/
    assert text =~ "ZeroDivisionError: division by zero"

    own =
      Map.take(meta, [:pool, :worker, :python_logger, :python_function, :file, :line, :request])

    assert own == %{
             pool: pool,
             worker: "#{pool}-1",
             python_logger: "shop.cart",
             python_function: "<module>",
             file: ~c"cart.py",
             line: 16,
             request: 7
           }

    assert is_integer(meta.os_pid)
  end

  @logs """
  import logging

  def log(text, times=1):
      for _ in range(times):
          logging.warning(text)

  def cast_log(text, done):
      log(text)
      erlang.send(done, text)
  """

  # The text of each record and the request in its metadata.
  defp requests(pool, fun) do
    for %{msg: {:string, text}, meta: meta} <- events(pool, fun),
        do: {to_string(text), meta[:request]}
  end

  test "each record has the metadata that its caller had then" do
    pool = output_pool(preload: [code: @logs])

    log = fn n ->
      Logger.metadata(request: n)
      ErlangPython.call!(:__main__, :log, ["#{n}", 3], pool: pool)
    end

    expected = for n <- 1..100, _ <- 1..3, do: {"#{n}", n}
    assert requests(pool, fn -> Enum.each(1..100, log) end) == expected
    # Whose callers have ended by the time it is logged.
    ended = fn -> for n <- 1..100, do: Task.await(Task.async(fn -> log.(n) end)) end
    assert requests(pool, ended) == expected
  end

  test "what works for a caller has its metadata too" do
    pool = output_pool(preload: [code: @logs])
    options = [pool: pool]
    test = self()

    ErlangPython.register(:output_log, fn text ->
      ErlangPython.call!(:__main__, :log, [text], options)
    end)

    on_exit(fn -> ErlangPython.unregister(:output_log) end)

    all =
      requests(pool, fn ->
        Logger.metadata(request: 7)
        ErlangPython.async(:__main__, :log, ["async"], options) |> Task.await()
        ["map"] |> ErlangPython.map(:__main__, :log, options) |> Stream.run()
        ErlangPython.eval!("erlang.output_log('nested')", %{}, options)
        ErlangPython.cast(:__main__, :cast_log, ["cast", test], options)
        Logger.metadata(request: 8)
        assert_receive "cast"
      end)

    assert all == for(text <- ["async", "map", "nested", "cast"], do: {text, 7})
  end

  test "a burst of records, and what stands without the end of a line, are logged at a death too" do
    pool = output_pool(stdout: :logger)

    code = """
    import ctypes, logging, os
    for n in range(2_000):
        logging.warning("record %d", n)
        os.write(1, b"line %d\\n" % n)
    os.write(1, b"half a line")
    ctypes.string_at(0)
    """

    log =
      capture_log(fn ->
        # The next worker has a printer of its own.
        until_logged("half a line", fn ->
          assert {:error, %{kind: :worker_exit}} = ErlangPython.exec(code, %{}, pool: pool)
        end)
      end)

    for what <- ["record", "line"] do
      # Not those which the warning of the worker's end quotes.
      logged = Regex.scan(~r/\[\w+\] #{what} (\d+)$/m, log)
      numbers = for [_all, n] <- logged, do: String.to_integer(n)
      assert numbers == Enum.to_list(0..1_999)
    end

    assert log =~ ~r/half a line$/m
    refute log =~ "left out"
  end

  test "levels are set at run time, and become the Logger's" do
    pool = output_pool()

    code = """
    import logging
    logging.getLogger().setLevel(logging.DEBUG)
    for level in (10, 20, 30, 40, 50): logging.log(level, "at %d", level)
    """

    events = events(pool, fn -> ErlangPython.run!(code, %{}, pool: pool) end)
    assert Enum.map(events, & &1.level) == [:debug, :info, :warning, :error, :critical]
  end

  test "a flood of records that can't be logged is left out, and counted" do
    pool = output_pool()
    {_generation, worker, _writer} = pool |> handle() |> Directory.worker(1)
    %{printing: %{printer: printer}} = :sys.get_state(worker)
    :erlang.suspend_process(printer)

    code = "import logging\nfor n in range(20_000): logging.error('x' * 400)"
    assert :ok = ErlangPython.exec(code, %{}, pool: pool, timeout: 120_000)
    # Behind all records.
    assert %{"rss" => _bytes} = ErlangPython.Worker.ping(worker, 60_000)
    assert {:message_queue_len, waiting} = Process.info(printer, :message_queue_len)
    assert waiting < 4_000

    log =
      capture_log(fn ->
        :erlang.resume_process(printer)
        eventually(fn -> assert %{waiting: 0, unlogged: 0} = :sys.get_state(worker).printing end)
        eventually_logged(pool)
      end)

    lines = String.split(log, "\n")
    logged = Enum.count(lines, &(&1 =~ "xxx"))

    left_out =
      for [_all, count] <- Regex.scan(~r/\[(\d+) log records left out: more/, log),
          do: String.to_integer(count)

    assert logged + Enum.sum(left_out) == 20_000
  end

  # What a function has logged from Python, read by a handler of the test's own.
  defp events(pool, fun) do
    test = self()
    handler = {:output_events, self()} |> inspect() |> String.to_atom()
    :ok = :logger.add_handler(handler, __MODULE__, %{test: test, events: true})

    capture_log(fn ->
      fun.()
      eventually_logged(pool)
    end)

    :logger.remove_handler(handler)
    collect([])
  end

  defp collect(events) do
    receive do
      {:event, %{meta: %{python_logger: _name}} = event} -> collect([event | events])
      {:event, _other} -> collect(events)
    after
      0 -> Enum.reverse(events)
    end
  end

  test "processes that Python starts write to the descriptors" do
    pool = output_pool()

    code = """
    import multiprocessing, os, subprocess, sys, warnings
    warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
    print("parent", end=" ")
    pid = os.fork()
    if pid == 0:
        print("forked")
        sys.exit(0)
    os.waitpid(pid, 0)
    child = multiprocessing.get_context("fork").Process(target=print, args=("multi",))
    child.start()
    child.join()
    subprocess.run([sys.executable, "-c", "print('sub')"], stdout=sys.stdout)
    print("ends")
    """

    log =
      capture_log(fn ->
        assert captured(pool, code) == "parent ends\n"
        eventually_logged(pool)
      end)

    for line <- ["forked", "multi", "sub"], do: assert(log =~ line)
    refute log =~ "parent"
  end
end
