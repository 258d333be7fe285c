defmodule ErlangPython.Callbacks.ProcessTest do
  # The process that runs a callback: whose it is, and with what it ends.
  use ErlangPython.CallbackCase, async: false

  alias ErlangPython.Pool.Directory

  setup do: {:ok, pool: start_pool(workers: 1, grace: 10_000)}

  # A function `wait` that tells the test of its process, and does not return.
  defp register_waiting do
    test = self()

    register(:wait, fn ->
      send(test, {:in, self()})
      receive do: (:never -> :ok)
    end)
  end

  describe "the process of a callback" do
    test "has the request's caller among its $callers, over all levels", %{pool: pool} do
      register(:callers, fn -> Process.get(:"$callers") end)

      register(:deeper, fn ->
        [self(), run!(pool, "erlang.callers()")]
      end)

      test = self()
      assert run!(pool, "erlang.callers()") == [test]
      assert [level, [level, ^test]] = run!(pool, "erlang.deeper()")
    end

    test "is killed when the deadline of its request falls", %{pool: pool} do
      register_waiting()
      before = os_pid(pool)
      assert {:error, %{kind: :timeout}} = run(pool, "erlang.wait()", %{}, timeout: 200)
      assert_received {:in, pid}
      ref = Process.monitor(pid)
      assert_receive {:DOWN, ^ref, _, _, _}
      assert run!(pool, "1") == 1
      # Interrupted, not killed.
      assert os_pid(pool) == before
      await_nothing_left(pool)
    end

    test "is killed when its request's caller dies, for a thread's callback too", %{pool: pool} do
      register_waiting()

      code = """
      from concurrent.futures import ThreadPoolExecutor
      with ThreadPoolExecutor(2) as threads:
          list(threads.map(lambda _: erlang.wait(), range(2)))
      """

      caller = spawn(fn -> run(pool, code) end)
      before = os_pid(pool)
      assert_receive {:in, first}
      assert_receive {:in, second}
      refs = Enum.map([first, second], &Process.monitor/1)
      Process.exit(caller, :kill)
      for ref <- refs, do: assert_receive({:DOWN, ^ref, _, _, _})
      assert run!(pool, "1") == 1
      assert os_pid(pool) == before
      await_nothing_left(pool)
    end

    test "can't be reached by the callback of code that goes on after its interrupt",
         %{pool: pool} do
      test = self()
      register_waiting()
      register(:clean_up, fn -> send(test, :cleaned_up) end)

      code = """
      try:
          erlang.wait()
      finally:
          try:
              erlang.clean_up()
          except erlang.ElixirError as error:
              erlang.send(pid, [error.kind, error.reason])
      """

      before = os_pid(pool)
      assert {:error, %{kind: :timeout}} = run(pool, code, %{pid: test}, timeout: 200)
      assert_receive [exit, :cancelled] when exit == "exit"
      refute_received :cleaned_up
      assert run!(pool, "1") == 1
      assert os_pid(pool) == before
    end

    test "serves a thread that calls after its request has ended", %{pool: pool} do
      test = self()

      register(:late, fn n ->
        send(test, {:late, n, Process.get(:"$callers")})
        n
      end)

      code = """
      import threading
      def work():
          gate.wait()
          erlang.send(inbox, erlang.late(7))
      globals().update(gate=threading.Event(), inbox=pid)
      threading.Thread(target=work).start()
      """

      run!(pool, code, %{pid: test})
      run!(pool, "gate.set()")
      assert_receive {:late, 7, nil}
      assert_receive 7
      await_nothing_left(pool)
    end

    test "leaves nothing if it ends when its worker has just done so", %{pool: pool} do
      register_waiting()
      {_generation, worker, _writer} = Directory.worker(handle(pool), 1)
      request = Task.async(fn -> run(pool, "erlang.wait()") end)
      assert_receive {:in, pid}

      # What it reads first is that the worker is gone.
      readers = Map.values(:sys.get_state(worker).readers)
      {:main, reader} = List.keyfind(readers, :main, 0)
      :erlang.suspend_process(reader)
      {"", 0} = System.cmd("kill", ["-KILL", "#{os_pid(pool)}"])

      eventually(fn ->
        assert {:message_queue_len, 1} = Process.info(reader, :message_queue_len)
      end)

      ref = Process.monitor(pid)
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^ref, _, _, :killed}
      :erlang.resume_process(reader)

      assert {:error, %{kind: :worker_exit}} = Task.await(request)
      await_nothing_left(pool)
    end
  end
end
