defmodule ErlangPython.Callbacks.CastsTest do
  # Casts and messages from Python, which wait for no answer.
  use ErlangPython.CallbackCase, async: false

  import ExUnit.CaptureLog

  alias ErlangPython.LogEvents
  alias ErlangPython.Pool.{Directory, Handle, Slots}

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

    test "run 10,000 at a time: what comes then is dropped, and the log says how many", %{
      pool: pool
    } do
      handle = handle(pool)
      test = self()
      LogEvents.forward()

      register(:wait, fn ->
        send(test, {:in, self()})
        receive do: (:go -> :ok)
      end)

      run!(pool, "for n in range(10_025): erlang.cast('wait')")

      casts =
        for _ <- 1..10_000,
            do:
              (
                assert_receive({:in, pid})
                pid
              )

      assert told_dropped("10000 casts of the pool #{inspect(pool)} run already", 25) == 25
      # Others are served.
      assert run!(pool, "erlang.call(f, 1)", %{f: & &1}) == 1

      {killed, ended} = Enum.split(casts, 5_000)
      Enum.each(killed, &Process.exit(&1, :kill))
      Enum.each(ended, &send(&1, :go))
      eventually(fn -> assert Slots.add_casts(handle, 0) == 0 end)
      run!(pool, "erlang.cast('wait')")
      assert_receive {:in, pid}
      send(pid, :go)
      refute_received {:in, _}
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

  # Once, if not a second passes between them.
  defp told_dropped(_why, left) when left <= 0, do: 0

  defp told_dropped(why, left) do
    assert_receive {:logged, :warning, text}
    [count, ^why] = String.split(text, " casts from Python were dropped: ")
    count = String.to_integer(count)
    count + told_dropped(why, left - count)
  end

  defp connections(pool) do
    {:ok, handle} = Handle.fetch(pool)
    {_generation, worker, _writer} = Directory.worker(handle, 1)
    map_size(:sys.get_state(worker).writers)
  end
end
