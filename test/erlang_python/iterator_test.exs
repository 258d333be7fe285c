defmodule ErlangPython.IteratorTest do
  use ErlangPython.PoolCase, async: true

  setup_all do
    start_supervised!(
      {ErlangPython.Pool,
       name: __MODULE__, workers: 2, python: ErlangPython.TestPython.executable(), stdout: :ignore}
    )

    :ok
  end

  defp run(code, bindings), do: ErlangPython.run(code, bindings, pool: __MODULE__)

  # Elements from 1 on; the test is told of each, and of the end.
  defp watched do
    test = self()

    Stream.resource(
      fn -> 1 end,
      fn n ->
        send(test, {:computed, n})
        {[n], n + 1}
      end,
      fn _n -> send(test, {:halted, self()}) end
    )
  end

  defp computed do
    receive do
      {:computed, n} -> max(n, computed())
    after
      0 -> 0
    end
  end

  test "Python takes all elements, of any enumerable" do
    for enumerable <- [[], [1], Enum.to_list(1..1_000), 1..1_000, Stream.map(1..300, & &1)] do
      items = Enum.to_list(enumerable)
      assert {:ok, ^items} = run("list(it)", it: ErlangPython.iterator(enumerable))
    end

    assert {:ok, [{:a, 1}]} = run("list(it)", it: ErlangPython.iterator(%{a: 1}))
  end

  test "an infinite stream is computed as it is taken, and halted when Python breaks off" do
    assert {:ok, [1, 2, 3]} =
             run("import itertools\nlist(itertools.islice(it, 3))",
               it: ErlangPython.iterator(watched())
             )

    assert_receive {:halted, _pid}
    # One, two and four at a time.
    assert computed() in 3..7
  end

  test "nothing is computed before Python asks" do
    assert {:ok, nil} = run("None", it: ErlangPython.iterator(watched()))
    assert_receive {:halted, _pid}
    assert computed() == 0
  end

  test "any thread may take elements" do
    code = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda _: next(it), range(100)))
    sorted(taken)
    """

    items = Enum.to_list(1..100)
    assert {:ok, ^items} = run(code, it: ErlangPython.iterator(items))
  end

  test "an enumerable may watch something itself" do
    source =
      Stream.resource(
        fn -> spawn_monitor(fn -> receive do: (:stop -> :ok) end) end,
        fn
          :over ->
            {:halt, :over}

          {pid, ref} ->
            receive do
              {:DOWN, ^ref, :process, ^pid, _reason} -> {[:last], :over}
            after
              0 -> {[pid], {pid, ref}}
            end
        end,
        fn _state -> :ok end
      )

    # While its process waits for Python's next request.
    stop = fn pid ->
      ref = Process.monitor(pid)
      send(pid, :stop)
      receive do: ({:DOWN, ^ref, :process, ^pid, _reason} -> nil)
    end

    code = "for n, x in enumerate(it):\n    if n == 0: stop(x)\nx"
    it = ErlangPython.iterator(source)
    assert run(code, it: it, stop: stop) == {:ok, :last}
  end

  test "an element that raises does so in Python, after those before it" do
    stream = Stream.map(1..5, fn n -> if n == 4, do: raise("four"), else: n end)

    code = """
    seen = []
    try:
        for x in it: seen.append(x)
    except erlang.ElixirError as error:
        seen.append(error.reason)
    seen, list(it)
    """

    assert {:ok, {[1, 2, 3, "four"], []}} = run(code, it: ErlangPython.iterator(stream))
  end

  test "an iterator that a callback returns outlives the callback" do
    ErlangPython.register("iterator_test_rows", fn -> ErlangPython.iterator(1..10) end)
    assert {:ok, 55} = run("sum(erlang.iterator_test_rows())", %{})
  after
    ErlangPython.unregister("iterator_test_rows")
  end

  test "elements may come from Python again" do
    stream = Stream.map(1..3, &ErlangPython.eval!("n * n", %{n: &1}, pool: __MODULE__))
    assert {:ok, [1, 4, 9]} = run("list(it)", it: ErlangPython.iterator(stream))
  end

  test "the end of its caller ends it" do
    test = self()
    stream = watched()

    {pid, ref} =
      spawn_monitor(fn ->
        ErlangPython.run(
          "import time\nnext(it)\nerlang.send(test, 'in')\ntime.sleep(60)",
          %{
            it: ErlangPython.iterator(stream),
            test: test
          },
          pool: __MODULE__
        )
      end)

    assert_receive "in", 10_000
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^ref, :process, ^pid, :killed}
    assert_receive {:halted, _pid}, 10_000
  end

  test "the end of its worker ends it" do
    pool = start_pool(workers: 1)

    assert {:error, %Error{kind: :worker_exit}} =
             ErlangPython.run(
               "import os\nnext(it)\nos._exit(1)",
               %{
                 it: ErlangPython.iterator(watched())
               },
               pool: pool
             )

    assert_receive {:halted, _pid}, 10_000
  end

  test "a request that never reaches Python ends it" do
    assert {:error, %Error{kind: :encode}} =
             run("0", %{both: [ErlangPython.iterator(watched()), <<1::3>>]})

    assert_receive {:halted, _pid}

    assert {:error, %Error{kind: :no_pool}} =
             ErlangPython.run("0", %{it: ErlangPython.iterator(watched())}, pool: :no_such_pool)
  end

  test "an answer that Python never gets ends it" do
    pool = start_pool(workers: 1, max_message_size: 65_536)
    elements = watched()
    answer = fn -> [ErlangPython.iterator(elements), :binary.copy("x", 100_000)] end

    assert {:error, %Error{message: message}} =
             ErlangPython.run("answer()", %{answer: answer}, pool: pool)

    assert message =~ "the pool's :max_message_size is 65536"
    assert_receive {:halted, _pid}

    wrong = fn -> [ErlangPython.iterator(elements), <<1::3>>] end
    assert {:error, %Error{}} = ErlangPython.run("answer()", %{answer: wrong}, pool: pool)
    assert_receive {:halted, _pid}
  end

  @tag :tmp_dir
  test "the end of a callback ends it in the callback's requests", %{tmp_dir: dir} do
    {outer, inner} = {start_pool(workers: 1), start_pool(workers: 1)}
    {busy, gate} = occupy(inner, dir)
    [%{os_pid: worker}] = Pool.workers(outer)
    elements = watched()

    callback = fn ->
      ErlangPython.run("0", %{it: ErlangPython.iterator(elements)}, pool: inner)
    end

    caller = spawn(fn -> ErlangPython.run("callback()", %{callback: callback}, pool: outer) end)

    eventually(fn ->
      %{queued: queued, in_flight: in_flight} = Pool.stats(inner)
      assert queued + in_flight == 2
    end)

    refute_received {:halted, _pid}
    Process.exit(caller, :kill)
    assert_receive {:halted, _pid}

    # Not with the worker.
    await_whole(outer, 1)
    assert [%{os_pid: ^worker}] = Pool.workers(outer)
    File.touch!(gate.go)
    assert Task.await(busy, :infinity) == :ok
  end

  test "what is no enumerable is refused" do
    assert_raise ArgumentError, ~r/expected an enumerable, got: 1/, fn ->
      ErlangPython.iterator(1)
    end
  end
end
