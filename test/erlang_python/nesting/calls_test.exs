defmodule ErlangPython.Nesting.CallsTest do
  # Python that calls Elixir that calls Python, by the process of the callback: where it runs, and how deep it goes.
  use ErlangPython.CallbackCase, async: false

  @where "import threading, os\n[os.getpid(), threading.get_ident(), threading.current_thread().name]"

  describe "a call of the callback's own process" do
    test "runs in the thread that waits, in the same namespace" do
      pool = start_pool(workers: 2)
      register(:where, fn -> run!(pool, @where) end)

      code =
        "import threading, os\n[[os.getpid(), threading.get_ident(), 'MainThread'], erlang.where()]"

      assert [same, same] = run!(pool, code)

      in_thread = """
      import threading, os
      def work():
          out.append([os.getpid(), threading.get_ident(), "mine"])
          out.append(erlang.where())
      out = []
      globals().update(out=out)
      thread = threading.Thread(target=work, name="mine")
      thread.start(); thread.join()
      out
      """

      assert [same, same] = run!(pool, in_thread)

      register(:set, fn -> run!(pool, "shared = 5") end)
      assert run!(pool, "erlang.set()\nshared") == 5
      await_nothing_left(pool)
    end

    test "goes into another pool as any call does" do
      {one, two} = {start_pool(workers: 1), start_pool(workers: 1)}
      register(:there, fn -> run!(two, "import os\nos.getpid()") end)
      register(:back, fn -> run!(two, "erlang.home()") end)
      register(:home, fn -> run!(one, "import os\nos.getpid()") end)
      assert run!(one, "erlang.there()") == os_pid(two)

      # The one worker of `one` waits for `two`, whose callback wants it: found stuck, it runs it beside.
      assert run!(one, "erlang.back()") == os_pid(one)
      Enum.each([one, two], &await_nothing_left/1)
    end

    test "fails as any call does, and the outer code may go on" do
      pool = start_pool(workers: 1)

      register(:attempt, fn ->
        {:error, error} = run(pool, "1 / 0")
        error.type
      end)

      register(:fail, fn -> ErlangPython.eval!("1 / 0", %{}, pool: pool) end)
      assert run!(pool, "erlang.attempt()") == "ZeroDivisionError"
      assert {:error, error} = run(pool, "erlang.fail()")
      assert %{kind: :elixir, details: %{reason: %Error{type: "ZeroDivisionError"}}} = error
      await_nothing_left(pool)
    end
  end

  describe "depth" do
    setup do
      pool = start_pool(workers: 1)

      register(:down, fn n ->
        if n == 0, do: 0, else: 1 + run!(pool, "erlang.down(n - 1)", %{n: n})
      end)

      {:ok, pool: pool}
    end

    test "of 200 on a pool of one, in the main thread", %{pool: pool} do
      assert run!(pool, "erlang.down(200)") == 200
      assert run!(pool, "erlang.down(200)") == 200
      await_nothing_left(pool)
    end

    test "of 200 in another thread", %{pool: pool} do
      code = """
      from concurrent.futures import ThreadPoolExecutor
      with ThreadPoolExecutor(1) as threads:
          out = threads.submit(erlang.down, 200).result()
      out
      """

      assert run!(pool, code) == 200
      await_nothing_left(pool)
    end

    test "without end is a Python error", %{pool: pool} do
      before = os_pid(pool)
      register(:deeper, fn -> ErlangPython.run!("erlang.deeper()", %{}, pool: pool) end)
      assert {:error, %Error{} = error} = run(pool, "erlang.deeper()")
      assert Exception.message(error) =~ "RecursionError"
      assert run!(pool, "erlang.down(20)") == 20
      assert os_pid(pool) == before
      await_nothing_left(pool)
    end

    test "of a failure: it passes all levels unchanged", %{pool: pool} do
      register(:fall, fn n ->
        if n == 0, do: raise(KeyError, key: 1, term: %{})
        ErlangPython.run!("erlang.fall(n - 1)", %{n: n}, pool: pool)
      end)

      assert {:error, error} = run(pool, "erlang.fall(50)")
      assert %{kind: :elixir, details: %{kind: :error, reason: %KeyError{key: 1}}} = error
      await_nothing_left(pool)
    end
  end

  test "two threads of one request call back at once with different nested calls" do
    pool = start_pool(workers: 1)
    test = self()

    register(:meet, fn name ->
      send(test, {:here, name, self()})
      receive do: (:go -> :ok)
      run!(pool, "import threading\n[name, threading.current_thread().name]", %{name: name})
    end)

    code = """
    import threading
    def work(name):
        out[name] = erlang.meet(name)
    out = {}
    globals().update(out=out)
    threads = [threading.Thread(target=work, args=(n,), name=n) for n in ("a", "b")]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    out
    """

    caller = Task.async(fn -> run!(pool, code) end)
    assert_receive {:here, "a", a}
    assert_receive {:here, "b", b}
    send(b, :go)
    send(a, :go)
    assert Task.await(caller, 30_000) == %{"a" => ["a", "a"], "b" => ["b", "b"]}
    await_nothing_left(pool)
  end
end
