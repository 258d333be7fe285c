defmodule ErlangPython.StreamTest do
  use ErlangPython.PoolCase, async: true

  import ExUnit.CaptureLog

  alias ErlangPython.Pool.{Directory, Handle, Pending, Slots}

  @moduletag :tmp_dir

  # Generators that leave a trace of their ends, and can be held at gates.
  @code """
  import os, pathlib, time
  log = []
  def numbers(start=0):
      try:
          while True:
              yield start
              start += 1
      finally:
          log.append('closed')
  def made(made_file):
      n = 0
      while True:
          with open(made_file, 'a') as file: file.write('.')
          yield n
          n += 1
  def wait(go):
      while not pathlib.Path(go).exists(): time.sleep(0.005)
  def gated(started, go, before=0, closed=None):
      try:
          for n in range(before): yield n
          pathlib.Path(started).touch()
          wait(go)
          yield before
          yield before + 1
      finally:
          if closed: pathlib.Path(closed).touch()
  def stubborn(started):
      try:
          yield 1
      finally:
          pathlib.Path(started).touch()
          while True:
              try: time.sleep(60)
              except BaseException: pass
  """

  defp start(options \\ []), do: start_pool([preload: [{:code, @code}]] ++ options)

  defp stream(pool, function, args \\ [], opts \\ []),
    do: ErlangPython.stream(:__main__, function, args, [pool: pool] ++ opts)

  defp log(pool), do: ErlangPython.eval!("log", %{}, pool: pool)
  defp handle(pool), do: pool |> Handle.fetch() |> elem(1)
  defp open_streams(pool), do: :ets.info(handle(pool).streams, :size)

  # The next item of a stream that stays open, and how to go on.
  defp first(stream) do
    {:suspended, item, continue} =
      Enumerable.reduce(stream, {:cont, nil}, fn item, _ -> {:suspend, item} end)

    {item, continue}
  end

  defp halt(continue), do: continue.({:halt, nil})

  describe "items" do
    test "come in order and all" do
      pool = start(workers: 1)
      numbers = ErlangPython.stream(:builtins, :range, [100_000], pool: pool)
      assert Enum.to_list(numbers) == Enum.to_list(0..99_999)
      assert Enum.to_list(numbers) |> length() == 100_000
      assert open_streams(pool) == 0
    end

    test "of any type and size" do
      pool = start(workers: 1)
      large = String.duplicate("x", 300_000)
      items = [1, nil, true, [1, {2, "b"}], %{"a" => large}, large, ~D[2024-01-01], 1.5, large]

      assert ErlangPython.stream_eval("iter(items)", %{items: items}, pool: pool)
             |> Enum.to_list() == items
    end

    test "are lines of a file, keys of a dict, characters of a str", %{tmp_dir: dir} do
      pool = start(workers: 1)
      path = Path.join(dir, "lines")
      File.write!(path, "a\nb\n")

      assert ErlangPython.stream(:builtins, :open, [path], pool: pool) |> Enum.to_list() == [
               "a\n",
               "b\n"
             ]

      assert ErlangPython.stream_eval("{'k': 1}", %{}, pool: pool) |> Enum.to_list() == ["k"]
      assert ErlangPython.stream_eval("'ab'", %{}, pool: pool) |> Enum.to_list() == ["a", "b"]
      assert ErlangPython.stream_eval("[]", %{}, pool: pool) |> Enum.to_list() == []
    end

    test "are not made far ahead", %{tmp_dir: dir} do
      pool = start(workers: 1)
      made = Path.join(dir, "made")
      assert pool |> stream(:made, [made]) |> Enum.take(3) == [0, 1, 2]
      assert File.stat!(made).size <= 4
    end

    test "that are ready do not wait for the next one", %{tmp_dir: dir} do
      pool = start(workers: 1)
      %{started: started, go: go} = gate(dir)
      test = self()

      reader =
        Task.async(fn ->
          pool |> stream(:gated, [started, go, 9]) |> Enum.each(&send(test, {:item, &1}))
        end)

      # All that come before the gate, although Python is still in the pull that made the last.
      for n <- 0..8, do: assert_receive({:item, ^n}, 5_000)
      await_file(started)
      refute_received {:item, 9}
      File.touch!(go)
      Task.await(reader)
      assert_received {:item, 9}
      assert_received {:item, 10}
    end

    test "are counted as one request of the worker's" do
      pool = start(workers: 1, max_requests: 3)
      [%{os_pid: before}] = Pool.workers(pool)

      assert ErlangPython.stream(:builtins, :range, [50_000], pool: pool) |> Enum.count() ==
               50_000

      assert [%{os_pid: ^before}] = Pool.workers(pool)
    end
  end

  describe "a paused stream" do
    test "occupies no worker, a thousand of them neither" do
      pool = start()
      open = for n <- 1..1_000, do: {n, first(stream(pool, :numbers, [n]))}
      assert %{idle: 2, in_flight: 0} = Pool.stats(pool)

      assert for(_ <- 1..100, do: ErlangPython.call!(:math, :sqrt, [4], pool: pool))
             |> Enum.uniq() == [2.0]

      for {n, {item, continue}} <- open do
        assert item == n
        halt(continue)
      end

      assert open_streams(pool) == 0
      # Fairly over both workers.
      assert length(log(pool)) == 500
    end

    test "goes on where it was, beside others" do
      pool = start(workers: 1)
      zipped = Stream.zip(stream(pool, :numbers, [0]), stream(pool, :numbers, [100]))
      assert Enum.take(zipped, 3) == [{0, 100}, {1, 101}, {2, 102}]
      assert log(pool) == ["closed", "closed"]
    end

    test "lets the reader call into the same pool" do
      pool = start(workers: 1)

      roots =
        pool
        |> stream(:numbers)
        |> Stream.map(&ErlangPython.call!(:math, :sqrt, [&1], pool: pool))

      assert Enum.take(roots, 2) == [0.0, 1.0]
    end
  end

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

      # The last item before the gate is flushed out of a pull that goes on.
      assert pool |> stream(:gated, [started, go, 9, closed]) |> Enum.find(&(&1 == 8)) == 8
      assert File.exists?(closed)
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

  describe "an error" do
    test "of Python comes at its element, after the items before it" do
      pool = start(workers: 1)
      test = self()

      error =
        assert_raise Error, fn ->
          ErlangPython.stream_eval("(6 // n for n in (3, 2, 1, 0))", %{}, pool: pool)
          |> Enum.each(&send(test, &1))
        end

      assert %{kind: :python, type: "ZeroDivisionError", executed: :yes} = error
      for n <- [2, 3, 6], do: assert_received(^n)
      assert open_streams(pool) == 0
    end

    test "of the opening is raised when the stream is run" do
      pool = start(workers: 1)
      stream = ErlangPython.stream_eval("17", %{}, pool: pool)
      assert_raise Error, ~r/'int' object is not iterable/, fn -> Enum.to_list(stream) end
      nobody = ErlangPython.stream(:m, :f, [], pool: :no_such_pool)
      assert %{kind: :no_pool} = assert_raise(Error, fn -> Enum.to_list(nobody) end)
    end

    test "of an item without an encoding closes the generator" do
      pool = start(workers: 1)

      error =
        assert_raise Error, fn ->
          ErlangPython.stream_eval("(object() for n in numbers())", %{}, pool: pool)
          |> Enum.to_list()
        end

      assert error.kind == :encode
    end

    test "in options or names is raised at once" do
      assert_raise ArgumentError, fn -> ErlangPython.stream(:m, :f, :no_list) end
      assert_raise ArgumentError, fn -> ErlangPython.stream(:m, :f, [], tiemout: 1) end
      assert_raise ArgumentError, fn -> ErlangPython.stream_eval(17) end
    end

    test "of the deadline comes with the wait that is too long", %{tmp_dir: dir} do
      pool = start(workers: 1)
      %{started: started, go: go} = gate(dir)
      closed = Path.join(dir, "closed")
      stream = stream(pool, :gated, [started, go, 1, closed], timeout: 200)

      assert %{kind: :timeout, executed: :maybe} =
               assert_raise(Error, fn -> Enum.to_list(stream) end)

      await_file(closed)
      await_whole(pool, 1)
      assert open_streams(pool) == 0
    end
  end

  describe "a stream that cannot be opened in time" do
    test "is not left behind", %{tmp_dir: dir} do
      pool = start(workers: 1)
      %{started: started, go: go} = gate(dir)
      stream = stream(pool, :gated, [started, go], timeout: 200)
      assert %{kind: :timeout} = assert_raise(Error, fn -> Enum.to_list(stream) end)
      await_whole(pool, 1)
      assert open_streams(pool) == 0
    end

    test "is closed if its answer finds that its caller has given up" do
      pool = start(workers: 1)
      open_for(pool, self(), nil)
      assert_left_nothing(pool)
    end

    test "is closed if its answer finds that its caller has died" do
      pool = start(workers: 1)
      open_for(pool, spawn(fn -> :ok end), self())
      assert_left_nothing(pool)
    end
  end

  # Sends an open request as if its caller had gone just before the answer.
  defp open_for(pool, caller, dest) do
    handle = handle(pool)
    id = Slots.next_id(handle)
    options = %ErlangPython.Request.Options{pool: pool}
    message = {:stream_call, "__main__", "numbers", []}
    {:ok, wire} = ErlangPython.Request.Message.encode(message, id, options, 1_000_000)
    {generation, _worker, writer} = Directory.worker(handle, 1)
    Slots.add_beside(handle, 1, 1)
    Pending.insert(handle, {id, dest, :tag, caller, -1, generation, 0, :pinned, nil})
    send(writer, {:tx, wire})
  end

  defp assert_left_nothing(pool) do
    eventually(fn -> assert log(pool) == ["closed"] end)
    await_whole(pool, 1)
    assert open_streams(pool) == 0
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

  test "many readers do not shut calls out, and are served in turn" do
    pool = start(workers: 1, window: 1)
    test = self()

    readers =
      for _ <- 1..50 do
        spawn_link(fn ->
          pool
          |> stream(:numbers)
          |> Enum.each(fn n -> if n == 300, do: send(test, {:far, self()}) end)
        end)
      end

    for _ <- 1..20, do: assert(ErlangPython.call!(:math, :sqrt, [4], pool: pool) == 2.0)
    for reader <- readers, do: assert_receive({:far, ^reader}, 30_000)

    for reader <- readers do
      Process.unlink(reader)
      Process.exit(reader, :kill)
    end

    eventually(fn -> assert open_streams(pool) == 0 end)
    await_whole(pool, 1)
  end

  test "workers that are killed under their readers leave nothing" do
    pool = start(workers: 2)

    readers =
      for _ <- 1..40 do
        Task.async(fn ->
          assert_raise Error, fn -> pool |> stream(:numbers) |> Enum.each(fn _ -> :ok end) end
        end)
      end

    eventually(fn -> assert open_streams(pool) == 40 end)
    for %{os_pid: pid} <- Pool.workers(pool), do: System.cmd("kill", ["-9", "#{pid}"])
    for error <- Task.await_many(readers, 30_000), do: assert(error.kind == :worker_exit)
    assert open_streams(pool) == 0
    await_whole(pool, 2)
  end

  test "a pull that waits behind another request is taken back at its deadline", %{tmp_dir: dir} do
    pool = start(workers: 1)
    stream = stream(pool, :numbers, [], timeout: 500)
    {0, continue} = first(stream)
    call = Task.async(fn -> ErlangPython.exec(gated(), gate(dir), pool: pool) end)
    await_file(gate(dir).started)
    assert %{kind: :timeout} = assert_raise(Error, fn -> continue.({:cont, nil}) end)
    File.touch!(gate(dir).go)
    assert Task.await(call) == :ok
    eventually(fn -> assert log(pool) == ["closed"] end)
    await_whole(pool, 1)
  end

  test "a worker that ends in order closes its streams", %{tmp_dir: dir} do
    pool = start(workers: 1)
    %{started: started, go: go} = gate(dir)
    closed = Path.join(dir, "closed")
    {0, _continue} = first(stream(pool, :gated, [started, go, 5, closed]))
    stop_supervised!(pool)
    assert File.exists?(closed)
  end

  test "pulls go on under a full :max_concurrent, and a full window" do
    pool = start(workers: 1, max_concurrent: 1, window: 1)
    assert pool |> stream(:numbers) |> Enum.take(100) == Enum.to_list(0..99)
    await_whole(pool, 1)
    assert Slots.admitted(handle(pool)) == 0
  end

  test "a slow reader holds little" do
    pool = start(workers: 1)

    {_, most} =
      ErlangPython.stream_eval("('x' * 5_000 for n in range(20_000))", %{}, pool: pool)
      |> Enum.reduce({0, 0}, fn _item, {count, most} ->
        if rem(count, 1_000) == 0, do: :erlang.garbage_collect()
        {:memory, memory} = Process.info(self(), :memory)
        {:binary, binaries} = Process.info(self(), :binary)
        {count + 1, max(most, memory + (binaries |> Enum.map(&elem(&1, 1)) |> Enum.sum()))}
      end)

    # Of 100 MB in all.
    assert most < 8_000_000
  end

  test "readers that come, halt and die at random leave nothing" do
    pool = start(workers: 2, grace: 5_000)
    seed = :rand.uniform(1_000_000)
    :rand.seed(:exsss, seed)
    plans = for _ <- 1..300, do: {Enum.random([:halt, :kill, :read]), :rand.uniform(200)}

    plans
    |> Task.async_stream(fn plan -> read(pool, plan) end, max_concurrency: 20, timeout: 60_000)
    |> Enum.each(fn result -> assert {:ok, :ok} = result, "seed #{seed}" end)

    eventually(fn -> assert open_streams(pool) == 0, "seed #{seed}" end)
    await_whole(pool, 2)
  end

  defp read(pool, {:halt, n}) do
    assert pool |> stream(:numbers) |> Enum.take(n) == Enum.to_list(0..(n - 1))
    :ok
  end

  defp read(pool, {:read, n}) do
    assert ErlangPython.stream(:builtins, :range, [n], pool: pool) |> Enum.count() == n
    :ok
  end

  defp read(pool, {:kill, n}) do
    {pid, ref} =
      spawn_monitor(fn ->
        pool |> stream(:numbers) |> Enum.each(fn i -> if i == n, do: exit(:enough) end)
      end)

    if rem(n, 2) == 0, do: Process.exit(pid, :kill)
    assert_receive {:DOWN, ^ref, :process, ^pid, reason} when reason in [:killed, :enough], 30_000
    :ok
  end
end
