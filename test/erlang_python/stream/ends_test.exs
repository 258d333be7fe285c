defmodule ErlangPython.Stream.EndsTest do
  # Streams that end early: by their readers, with their workers, with their pool.
  use ErlangPython.PoolCase, async: true

  import ExUnit.CaptureLog
  import ErlangPython.TestStreams

  alias ErlangPython.Pool.{Directory, Pending}

  @moduletag :tmp_dir

  describe "halting" do
    test "has run the generator's finally when it returns" do
      pool = start(workers: 1)
      assert pool |> stream(:numbers) |> Enum.take(2) == [0, 1]
      assert log(pool) == ["closed"]
      assert catch_throw(pool |> stream(:numbers) |> Enum.each(fn _ -> throw(:out) end)) == :out
      assert log(pool) == ["closed", "closed"]
    end

    test "stops a pull that runs", %{tmp_dir: dir} do
      pool = start(workers: 1)
      %{started: started, go: go} = gate(dir)
      closed = Path.join(dir, "closed")
      # Longer than `receive` can wait.
      stream = stream(pool, :gated, [started, go, 9, closed], timeout: Integer.pow(2, 40))

      # The last item before the gate is flushed out of a pull that goes on.
      assert Enum.find(stream, &(&1 == 8)) == 8
      assert File.exists?(closed)
      await_whole(pool, 1)
    end

    test "by the normal end of a reader that has suspended it stops a pull, too", %{tmp_dir: dir} do
      pool = start(workers: 1)
      %{started: started, go: go} = gate(dir)
      closed = Path.join(dir, "closed")
      stream = stream(pool, :gated, [started, go, 9, closed], timeout: :infinity)

      # The last item before the gate.
      upto = fn item, _acc -> {if(item == 8, do: :suspend, else: :cont), item} end
      reader = Task.async(fn -> stream |> Enumerable.reduce({:cont, nil}, upto) |> elem(1) end)
      assert Task.await(reader) == 8
      await_file(closed)
      await_whole(pool, 1)
    end

    test "replaces a worker whose generator does not stop", %{tmp_dir: dir} do
      pool = start(workers: 1, grace: 100)
      started = Path.join(dir, "started")
      [%{os_pid: before}] = Pool.workers(pool)

      assert capture_log(fn ->
               assert pool |> stream(:stubborn, [started]) |> Enum.take(1) == [1]
             end) =~ "closing a stream failed"

      assert File.exists?(started)
      await_whole(pool, 1)
      refute match?([%{os_pid: ^before}], Pool.workers(pool))
    end

    test "does not wait for ever behind another request, which is left alone", %{tmp_dir: dir} do
      pool = start(workers: 1, grace: 50)
      %{started: started, go: go} = gate(dir)
      {0, continue} = first(stream(pool, :numbers))
      call = Task.async(fn -> ErlangPython.exec(gated(), gate(dir), pool: pool) end)
      await_file(started)
      assert {:halted, nil} = halt(continue)
      File.touch!(go)
      assert Task.await(call) == :ok
      assert log(pool) == ["closed"]
    end

    test "has its time from when it begins", %{tmp_dir: dir} do
      pool = start(workers: 1, grace: 60_000)
      %{started: started, go: go} = gate(dir)

      code = """
      def late(started, go):
          try:
              yield 0
          finally:
              pathlib.Path(started).touch()
              while not pathlib.Path(go).exists(): time.sleep(0.005)
              log.append('closed')
      """

      ErlangPython.exec!(code, %{}, pool: pool)
      stream = stream(pool, :late, [started, go])
      reader = Task.async(fn -> Enum.take(stream, 1) end)
      await_file(started)

      # As where it stood behind another request until now. The ping is answered behind it.
      [{id, -1}] = Pending.places(handle(pool))
      {_generation, worker, _writer} = Directory.worker(handle(pool), 1)
      send(worker, {:close_due, id})
      assert %{"rss" => _bytes} = ErlangPython.Worker.ping(worker, 10_000)
      File.touch!(go)
      assert Task.await(reader) == [0]
      assert log(pool) == ["closed"]
    end

    test "logs what the generator raises at its end" do
      pool = start(workers: 1)

      ErlangPython.exec!(
        "def bad():\n    try:\n        yield 1\n    finally:\n        1 // 0",
        %{},
        pool: pool
      )

      assert capture_log(fn -> assert pool |> stream(:bad) |> Enum.take(1) == [1] end) =~
               "ZeroDivisionError"
    end
  end

  describe "the death" do
    test "of the worker between two pulls raises at the next item" do
      pool = start(workers: 1)
      {0, continue} = first(stream(pool, :numbers))
      [%{os_pid: pid}] = Pool.workers(pool)
      System.cmd("kill", ["-9", "#{pid}"])
      eventually(fn -> refute match?([%{os_pid: ^pid}], Pool.workers(pool)) end)
      await_whole(pool, 1)

      assert %{kind: :worker_exit, executed: :maybe} =
               assert_raise(Error, fn -> continue.({:cont, nil}) end)

      assert open_streams(pool) == 0
    end

    test "of the worker during a pull raises at once", %{tmp_dir: dir} do
      pool = start(workers: 1)
      %{started: started, go: go} = gate(dir)

      reader =
        Task.async(fn ->
          assert_raise Error, fn -> pool |> stream(:gated, [started, go, 5]) |> Enum.to_list() end
        end)

      await_file(started)
      [%{os_pid: pid}] = Pool.workers(pool)
      System.cmd("kill", ["-9", "#{pid}"])
      assert %{kind: :worker_exit, details: %{signal: 9}} = Task.await(reader)
      await_whole(pool, 1)
    end

    test "of the reader between two pulls closes the stream" do
      pool = start(workers: 1)
      test = self()

      for reason <- [:normal, :kill] do
        reader =
          spawn(fn ->
            first(stream(pool, :numbers))
            send(test, :open)
            receive do: (:go -> :ok)
          end)

        assert_receive :open
        if reason == :kill, do: Process.exit(reader, :kill), else: send(reader, :go)
        eventually(fn -> assert open_streams(pool) == 0 end)
      end

      assert log(pool) == ["closed", "closed"]
    end

    test "of the reader during a pull closes the stream", %{tmp_dir: dir} do
      pool = start(workers: 1)
      %{started: started, go: go} = gate(dir)
      closed = Path.join(dir, "closed")
      reader = spawn(fn -> pool |> stream(:gated, [started, go, 3, closed]) |> Enum.to_list() end)
      await_file(started)
      Process.exit(reader, :kill)
      await_file(closed)
      await_whole(pool, 1)
      assert open_streams(pool) == 0
    end

    test "of the reader while it opens closes the stream", %{tmp_dir: dir} do
      pool = start(workers: 1)
      %{started: started, go: go} = gate(dir)
      closed = Path.join(dir, "closed")
      reader = spawn(fn -> pool |> stream(:gated, [started, go, 0, closed]) |> Enum.to_list() end)
      await_file(started)
      Process.exit(reader, :kill)
      await_file(closed)
      await_whole(pool, 1)
    end

    test "of the pool raises at the next item" do
      pool = start(workers: 1)
      {0, continue} = first(stream(pool, :numbers))
      stop_supervised!(pool)
      assert %{kind: kind} = assert_raise(Error, fn -> continue.({:cont, nil}) end)
      assert kind in [:no_pool, :worker_exit]
      assert {:halted, nil} = continue.({:halt, nil})
    end
  end

  test "a worker that is replaced in order waits for its streams" do
    pool = start(workers: 1)
    [%{os_pid: before}] = Pool.workers(pool)
    {0, continue} = first(stream(pool, :numbers))
    restart = Task.async(fn -> Pool.restart(pool) end)
    eventually(fn -> assert %{idle: 0} = Pool.stats(pool) end)

    {:suspended, 1, continue} = continue.({:cont, nil})
    {:suspended, 2, continue} = continue.({:cont, nil})
    assert [%{os_pid: ^before}] = Pool.workers(pool)
    assert {:halted, nil} = halt(continue)
    assert Task.await(restart) == :ok
    refute match?([%{os_pid: ^before}], Pool.workers(pool))
  end

  test "a worker that ends in order closes its streams", %{tmp_dir: dir} do
    pool = start(workers: 1)
    %{started: started, go: go} = gate(dir)
    closed = Path.join(dir, "closed")
    {0, _continue} = first(stream(pool, :gated, [started, go, 5, closed]))
    stop_supervised!(pool)
    assert File.exists?(closed)
  end
end
