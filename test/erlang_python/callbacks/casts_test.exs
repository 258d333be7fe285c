defmodule ErlangPython.Callbacks.CastsTest do
  # Casts and messages from Python, which wait for no answer.
  use ErlangPython.CallbackCase, async: false

  import ExUnit.CaptureLog

  alias ErlangPython.Pool.{Directory, Handle}

  setup do: {:ok, pool: start_pool(workers: 1, grace: 10_000)}

  describe "cast and send" do
    test "don't wait", %{pool: pool} do
      test = self()
      register(:tell, &send(test, {:told, &1}))
      assert run!(pool, "erlang.cast('tell', 1)\nerlang.cast(f, 2)", %{f: &send(test, &1)}) == nil
      assert_receive {:told, 1}
      assert_receive 2
      assert run!(pool, "erlang.send(pid, ('hello', [1]))", %{pid: test}) == nil
      assert_receive {"hello", [1]}
    end

    test "of a failing function is logged", %{pool: pool} do
      test = self()

      register(:fail, fn ->
        send(test, {:in, self()})
        raise "bad cast"
      end)

      log =
        capture_log(fn ->
          run!(pool, "erlang.cast('fail')")
          assert_receive {:in, pid}
          ref = Process.monitor(pid)
          assert_receive {:DOWN, ^ref, _, _, _}
        end)

      assert log =~ "a cast from Python to fail failed"
      assert log =~ "bad cast"
    end

    test "arrive though the thread ends at once", %{pool: pool} do
      test = self()

      register(:slow, fn n ->
        send(test, {:in, self()})
        receive do: (:go -> send(test, {:done, n}))
      end)

      run!(pool, """
      import threading
      t = threading.Thread(target=erlang.cast, args=("slow", 1))
      t.start(); t.join()
      """)

      assert_receive {:in, pid}
      # The thread's connection closes meanwhile.
      eventually(fn -> assert connections(pool) == 2 end)
      send(pid, :go)
      assert_receive {:done, 1}
    end

    test "by name only where the application allows it", %{pool: pool} do
      Process.register(self(), :callbacks_test_inbox)
      assert {"UnknownFunction", text} = caught(pool, "erlang.send('callbacks_test_inbox', 1)")
      assert text =~ "config :erlang_python, send_to:"
      Application.put_env(:erlang_python, :send_to, [:callbacks_test_inbox, __MODULE__])
      on_exit(fn -> Application.delete_env(:erlang_python, :send_to) end)
      assert run!(pool, "erlang.send('callbacks_test_inbox', [1])") == nil
      assert_receive [1]
      assert {"UnknownFunction", text} = caught(pool, "erlang.send('#{inspect(__MODULE__)}', 1)")
      assert text =~ "no process is registered"
      assert {"TypeError", _} = caught(pool, "erlang.send(1, 1)")
      Application.put_env(:erlang_python, :send_to, ["callbacks_test_inbox"])
      assert {"ElixirError", text} = caught(pool, "erlang.send('callbacks_test_inbox', 1)")
      assert text =~ "send_to: ... to be a list of names of processes"
    end

    test "of one thread arrive in order", %{pool: pool} do
      run!(pool, "for n in range(1000): erlang.send(pid, n)", %{pid: self()})
      for n <- 0..999, do: assert_receive(m when m == n)
    end
  end

  defp connections(pool) do
    {:ok, handle} = Handle.fetch(pool)
    {_generation, worker, _writer} = Directory.worker(handle, 1)
    map_size(:sys.get_state(worker).writers)
  end
end
