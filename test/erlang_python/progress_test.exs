defmodule ErlangPython.ProgressTest do
  # `erlang.progress` and bars of tqdm's. Not async: it captures output, and sets whether this is a terminal.
  use ErlangPython.PoolCase, async: false

  import ExUnit.{CaptureIO, CaptureLog}

  alias ErlangPython.LogEvents

  @steps """
  import erlang
  for step in range(1001):
      erlang.progress(step, 1000, "steps")
  step
  """

  defp received do
    receive do
      {:python_progress, report} -> [report | received()]
    after
      0 -> []
    end
  end

  test "a process gets messages, the first and the last always, before the reply" do
    pool = start_pool()
    assert {:ok, 1000} = ErlangPython.run(@steps, %{}, pool: pool, progress: self())
    reports = received()
    assert hd(reports) == %{done: 0, total: 1000, text: "steps"}
    assert List.last(reports) == %{done: 1000, total: 1000, text: "steps"}
    assert reports == Enum.sort_by(reports, & &1.done)
    # 20 a second: it does not take seconds.
    assert length(reports) < 100
  end

  test "a function is called in a process of its own, and has seen all when the call returns" do
    pool = start_pool()
    test = self()
    see = &send(test, {:seen, self(), &1})

    assert :ok = ErlangPython.exec(@steps, %{}, pool: pool, progress: see)
    assert_received {:seen, relay, %{done: 0}}
    assert_received {:seen, ^relay, %{done: 1000}}
    assert relay != self()
    refute Process.alive?(relay)

    task = ErlangPython.async(:builtins, :exec, [@steps, %{"n" => 1}], pool: pool, progress: see)

    assert {:ok, nil} = Task.await(task)
    assert_received {:seen, _relay, %{done: 1000}}
  end

  test "a function that raises is logged, and the call goes on" do
    pool = start_pool()

    LogEvents.forward()
    options = [pool: pool, progress: fn _ -> raise "no bar" end]

    capture_log(fn ->
      assert {:ok, 1000} = ErlangPython.run(@steps, %{}, options)
      assert_receive {:logged, :error, text}, 30_000
      assert text =~ "no bar"
    end)
  end

  test "threads, coroutines and contexts report too" do
    pool = start_pool()

    code = """
    import asyncio, erlang, threading
    thread = threading.Thread(target=erlang.progress, args=(1, 1, "thread"))
    thread.start()
    thread.join()
    async def work():
        erlang.progress(2, 2, "coroutine")
    await work()
    """

    assert {:ok, nil} = ErlangPython.run(code, %{}, pool: pool, progress: self())
    # The thread's comes on a connection of its own.
    assert_receive {:python_progress, %{text: "thread"}}
    assert_received {:python_progress, %{text: "coroutine"}}

    {:ok, context} = ErlangPython.Context.open(pool: pool, mode: :shared)
    assert :ok = ErlangPython.exec("x = 1", %{}, context: context)
    options = [context: context, progress: self()]
    assert {:ok, 1} = ErlangPython.run("import erlang\nerlang.progress(x, x)\nx", %{}, options)
    assert_received {:python_progress, %{done: 1, total: 1, text: ""}}
  end

  test "who did not ask gets no message, and no text where there is no terminal" do
    pool = start_pool(stdout: :caller)
    assert capture_io(fn -> {:ok, 1000} = ErlangPython.run(@steps, %{}, pool: pool) end) == ""
    assert received() == []
    # Outside any request it does nothing.
    start_pool(preload: [{:code, "import erlang; erlang.progress(1, 2)"}])
  end

  test "a terminal shows a bar, on a line of its own" do
    ansi = Application.get_env(:elixir, :ansi_enabled)
    Application.put_env(:elixir, :ansi_enabled, true)
    on_exit(fn -> Application.put_env(:elixir, :ansi_enabled, ansi) end)
    pool = start_pool(stdout: :caller)

    draw = fn code ->
      code = "import erlang\n" <> code
      capture_io(fn -> {:ok, _} = ErlangPython.run(code, %{}, pool: pool) end)
    end

    assert draw.("erlang.progress(5, 10, 'half')\nerlang.progress(10, 10, 'all')") ==
             "\r[===============               ]  50% half\e[K" <>
               "\r[==============================] 100% all\e[K\n"

    # Also where it is never full.
    assert draw.("erlang.progress(3, None, 'files')\n1") == "\r3 files\e[K\n"
    assert capture_io(fn -> ErlangPython.run(@steps, %{}, pool: pool, progress: self()) end) == ""
  end

  test "bars of tqdm's tell who asked, and are drawn as ever for who did not" do
    pool = start_pool(stdout: :caller)

    code = """
    from tqdm import tqdm
    sum(tqdm(range(100), desc="adding"))
    """

    assert capture_io(fn ->
             assert {:ok, 4950} = ErlangPython.run(code, %{}, pool: pool, progress: self())
           end) == ""

    reports = received()
    assert hd(reports) == %{done: 0, total: 100, text: "adding"}
    assert List.last(reports) == %{done: 100, total: 100, text: "adding"}

    assert capture_io(fn -> assert {:ok, 4950} = ErlangPython.run(code, %{}, pool: pool) end) =~
             "adding: 100%"

    assert received() == []
  end

  test "wrong arguments and options are named" do
    pool = start_pool()

    for {args, message} <- [
          {"'1'", "done must be a number, not str"},
          {"1, '2'", "total must be a number or None, not str"},
          {"1, 2, 3", "text must be str, not int"}
        ] do
      code = "__import__('erlang').progress(#{args})"

      assert {:error, %Error{type: "TypeError", message: ^message}} =
               ErlangPython.eval(code, %{}, pool: pool)
    end

    assert_raise ArgumentError, ~r/expected :progress to be a pid or a function of one/, fn ->
      ErlangPython.call(:math, :sqrt, [1], progress: :me)
    end

    assert_raise ArgumentError, ~r/unknown option :progress/, fn ->
      ErlangPython.cast(:math, :sqrt, [1], progress: self())
    end
  end
end
