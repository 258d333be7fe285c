defmodule ErlangPython.TelemetryTest do
  # Not async: `:telemetry` is there for all pools that start meanwhile.
  use ErlangPython.PoolCase, async: false

  import ExUnit.CaptureLog

  alias ErlangPython.{StandIn, Telemetry}
  alias ErlangPython.Pool.{Directory, Handle, Slots}
  alias ErlangPython.Telemetry.Events

  setup_all do
    StandIn.telemetry()
  end

  # The events of one pool, as messages.
  defp attach(pool, events) do
    test = self()
    id = make_ref()

    handler = fn event, measurements, metadata, _config ->
      if metadata.pool == pool,
        do: send(test, {:event, tl(event), measurements, metadata, self()})
    end

    :ok = telemetry(:attach_many, [id, Enum.map(events, &[:erlang_python | &1]), handler, nil])
    on_exit(fn -> telemetry(:detach, [id]) end)
    id
  end

  # It is not there when this file is compiled.
  defp telemetry(function, args), do: apply(:telemetry, function, args)

  @call [[:call, :start], [:call, :stop], [:call, :exception]]

  test "a call is a span with its times and sizes" do
    pool = start_pool(workers: 1)
    attach(pool, @call)
    before = :os.system_time()
    {:ok, nil} = ErlangPython.call(:time, :sleep, [0.02], pool: pool)
    assert_received {:event, [:call, :start], start, started, pid}
    assert_received {:event, [:call, :stop], stop, stopped, ^pid}
    assert pid == self()

    assert start.system_time in before..:os.system_time()
    assert stop.monotonic_time == start.monotonic_time + stop.duration
    assert ms(stop.run_time) >= 20
    assert stop.queue_time + stop.run_time <= stop.duration
    assert stop.queue_time >= 0
    assert stop.encode_size in 20..200
    assert stop.decode_size in 10..100

    assert Map.delete(stopped, :telemetry_span_context) == %{
             pool: pool,
             worker: 1,
             operation: :call,
             module: "time",
             function: "sleep",
             error: nil
           }

    assert is_reference(stopped.telemetry_span_context)
    assert %{stopped | worker: nil} == started
  end

  defp ms(native), do: System.convert_time_unit(native, :native, :millisecond)

  test "sizes are those of the messages" do
    pool = start_pool(workers: 1)
    attach(pool, @call)
    data = String.duplicate("x", 100_000)
    {:ok, ^data} = ErlangPython.call(:builtins, :str, [data], pool: pool)
    assert_received {:event, [:call, :stop], stop, _metadata, _pid}
    assert stop.encode_size in 100_000..101_000
    assert stop.decode_size in 100_000..101_000
  end

  for {operation, code} <- [eval: "1", exec: "x = 1", run: "1"] do
    test "#{operation} is one too" do
      pool = start_pool(workers: 1)
      attach(pool, @call)
      apply(ErlangPython, unquote(operation), [unquote(code), %{}, [pool: pool]])
      assert_received {:event, [:call, :stop], _stop, metadata, _pid}
      assert %{operation: unquote(operation), module: nil, function: nil, worker: 1} = metadata
    end
  end

  test "a failure is an exception of the span" do
    pool = start_pool(workers: 1)
    attach(pool, @call)
    {:error, error} = ErlangPython.call(:math, :sqrt, [-1], pool: pool)
    assert_received {:event, [:call, :start], _start, started, _pid}
    assert_received {:event, [:call, :exception], stop, metadata, _pid}
    assert %{kind: :error, reason: ^error, error: ^error, stacktrace: [], worker: 1} = metadata
    assert metadata.telemetry_span_context == started.telemetry_span_context
    assert stop.run_time > 0
    refute_received {:event, [:call, :stop], _, _, _}
  end

  test "what raises in the caller is one too, and is raised" do
    pool = start_pool(workers: 1)
    attach(pool, @call)
    arguments = [%ErlangPython.TestStructs.Broken{}]

    assert_raise RuntimeError, fn ->
      ErlangPython.call(:builtins, :str, arguments, pool: pool)
    end

    assert_received {:event, [:call, :exception], stop, metadata, _pid}
    assert %{kind: :error, reason: %RuntimeError{}, stacktrace: [_ | _], worker: nil} = metadata
    assert {stop.encode_size, stop.decode_size} == {0, 0}
  end

  @tag :tmp_dir
  test "a request that waits for a worker says how long, and a full queue refuses", %{
    tmp_dir: dir
  } do
    pool = start_pool(workers: 1, max_queue: 1, window: 1)
    attach(pool, [[:pool, :queued], [:pool, :overloaded] | @call])
    gate = gate(dir)
    busy = Task.async(fn -> ErlangPython.exec(gated(), gate, pool: pool) end)
    await_file(gate.started)
    waiting = Task.async(fn -> ErlangPython.eval("1", %{}, pool: pool) end)
    assert_receive {:event, [:pool, :queued], %{queued: 1}, %{pool: ^pool}, pid}
    assert pid == waiting.pid
    {:error, %{kind: :overloaded} = error} = ErlangPython.eval("2", %{}, pool: pool)
    assert_received {:event, [:pool, :overloaded], %{current: 1, max: 1}, metadata, _pid}
    assert metadata == %{pool: pool, error: error}
    assert_received {:event, [:call, :exception], refused, %{error: ^error, worker: nil}, _pid}
    assert {refused.queue_time, refused.run_time} == {refused.duration, 0}
    File.touch!(gate.go)
    assert {:ok, 1} = Task.await(waiting)
    :ok = Task.await(busy)
    assert_received {:event, [:call, :stop], stop, %{operation: :eval}, _pid}
    assert stop.queue_time > stop.run_time
  end

  test "a handler that is attached to a pool that runs counts at once" do
    pool = start_pool(workers: 1)
    {:ok, 4.0} = ErlangPython.call(:math, :sqrt, [16], pool: pool)
    id = attach(pool, @call)
    {:ok, 4.0} = ErlangPython.call(:math, :sqrt, [16], pool: pool)
    assert_received {:event, [:call, :stop], stop, _metadata, _pid}
    assert stop.queue_time + stop.run_time <= stop.duration
    telemetry(:detach, [id])
    {:ok, 4.0} = ErlangPython.call(:math, :sqrt, [16], pool: pool)
    assert_received {:event, [:call, :start], _, _, _}
    refute_received {:event, _, _, _, _}
  end

  test "a handler that fails costs nobody the call" do
    pool = start_pool(workers: 1)
    id = make_ref()
    broken = fn _event, _measurements, _metadata, _config -> raise "broken" end
    telemetry(:attach, [id, [:erlang_python, :call, :stop], broken, nil])
    log = capture_log(fn -> assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool) end)
    assert log =~ "broken"
    assert telemetry(:list_handlers, [[:erlang_python]]) == []
  end

  test "a stream has a beginning, parts and an end" do
    pool = start_pool(workers: 1)
    attach(pool, [[:stream, :start], [:stream, :part], [:stream, :stop], [:stream, :exception]])
    stream = ErlangPython.stream(:builtins, :range, [100], pool: pool)
    assert Enum.count(stream) == 100
    assert_received {:event, [:stream, :start], %{system_time: _}, started, _pid}
    assert_received {:event, [:stream, :part], %{items: 1, duration: _}, _metadata, _pid}
    assert_received {:event, [:stream, :stop], stop, metadata, _pid}
    assert %{reason: :done, pool: ^pool, module: "builtins", function: "range"} = metadata
    assert metadata.telemetry_span_context == started.telemetry_span_context
    assert %{items: 100, parts: parts} = stop
    assert parts > 1
    assert others(parts - 1) == 99

    [0] = Enum.take(stream, 1)
    assert_received {:event, [:stream, :stop], %{items: 1, parts: 1}, %{reason: :closed}, _pid}

    assert_raise Error, fn ->
      ErlangPython.stream_eval("(1 / (1 - n) for n in range(3))", %{}, pool: pool)
      |> Enum.to_list()
    end

    assert_received {:event, [:stream, :exception], %{items: 1}, failed, _pid}

    assert %{kind: :error, reason: %Error{type: "ZeroDivisionError"} = error, error: error} =
             failed
  end

  defp others(parts) do
    Enum.sum(
      for _ <- 1..parts do
        assert_received {:event, [:stream, :part], %{items: items}, _metadata, _pid}
        items
      end
    )
  end

  test "a callback is a span in its own process" do
    pool = start_pool(workers: 1)
    attach(pool, [[:callback, :start], [:callback, :stop], [:callback, :exception]])
    ErlangPython.register(:telemetry_double, fn n -> 2 * n end)
    ErlangPython.register(:telemetry_fail, fn -> exit(:no) end)

    on_exit(fn ->
      ErlangPython.unregister(:telemetry_double)
      ErlangPython.unregister(:telemetry_fail)
    end)

    {:ok, 4} = ErlangPython.eval("erlang.telemetry_double(2)", %{}, pool: pool)
    assert_received {:event, [:callback, :start], %{system_time: _}, started, pid}
    assert_received {:event, [:callback, :stop], %{duration: _}, ^started, ^pid}
    assert pid != self()
    assert %{function: "telemetry_double", operation: :call, worker: 1, error: nil} = started

    {:error, _} = ErlangPython.eval("erlang.telemetry_fail()", %{}, pool: pool)
    assert_received {:event, [:callback, :exception], %{duration: _}, failed, _pid}
    assert %{kind: :exit, reason: :no, stacktrace: [], error: "** (exit) :no"} = failed

    {:ok, 6} = ErlangPython.eval("f(3)", %{f: &(2 * &1)}, pool: pool)
    assert_received {:event, [:callback, :stop], _, %{function: nil}, _pid}

    {:error, _} = ErlangPython.eval("erlang.call('telemetry_none')", %{}, pool: pool)
    assert_received {:event, [:callback, :exception], _, %{kind: :error, reason: reason}, _pid}
    assert reason =~ "telemetry_none"

    :ok = ErlangPython.exec("erlang.cast('telemetry_double', 1)", %{}, pool: pool)
    assert_receive {:event, [:callback, :stop], _, %{operation: :cast}, _pid}
  end

  test "workers start and end" do
    pool = unique_name()
    attach(pool, [[:worker, :start], [:worker, :exit]])
    start_pool(name: pool, workers: 1)
    assert_receive {:event, [:worker, :start], start, started, _pid}
    [%{os_pid: os_pid}] = Pool.workers(pool)
    assert %{pool: ^pool, worker: 1, os_pid: ^os_pid, python: "3." <> _} = started
    assert ms(start.duration) in 1..60_000

    {:error, _} = ErlangPython.exec("import os; os._exit(3)", %{}, pool: pool)
    assert_receive {:event, [:worker, :exit], exit, exited, _pid}
    assert %{worker: 1, os_pid: ^os_pid, reason: :exited, status: 3, error: nil} = exited
    assert exit.duration > start.duration
    assert_receive {:event, [:worker, :start], _, _, _}

    :ok = Pool.restart(pool)
    assert_receive {:event, [:worker, :exit], _, %{reason: :drained, status: 0}, _pid}
  end

  test "workers end with their pool" do
    pool = unique_name()
    attach(pool, [[:worker, :exit]])
    start_pool(name: pool, workers: 2)
    {:ok, 4.0} = ErlangPython.call(:math, :sqrt, [16], pool: pool)
    pids = for worker <- Pool.workers(pool), into: %{}, do: {worker.id, worker.os_pid}
    :ok = stop_supervised(pool)

    ended =
      for _worker <- pids do
        assert_received {:event, [:worker, :exit], exit, metadata, _pid}

        assert %{reason: :stopped, status: 0, error: nil, pool: ^pool, python: "3." <> _} =
                 metadata

        assert exit.duration > 0
        refute os_process?(metadata.os_pid)
        {{metadata.worker, metadata.os_pid}, exit.served}
      end

    assert ended |> Map.new(&elem(&1, 0)) == pids
    assert ended |> Enum.map(&elem(&1, 1)) |> Enum.sort() == [0, 1]
    refute_received {:event, [:worker, :exit], _, _, _}
  end

  test "so do those of a manager that has crashed, and those that start" do
    pool = unique_name()
    attach(pool, [[:worker, :start], [:worker, :exit]])
    start_pool(name: pool, workers: 1)
    assert_received {:event, [:worker, :start], _, %{os_pid: os_pid}, _pid}
    {:ok, handle} = Handle.fetch(pool)
    handle |> Directory.whereis(:manager) |> Process.exit(:kill)
    assert_receive {:event, [:worker, :exit], _, %{reason: :stopped, os_pid: ^os_pid}, _pid}
    # Answered by the new manager, which has started another.
    [_worker] = Pool.workers(pool)
    :ok = stop_supervised(pool)
    assert_received {:event, [:worker, :exit], %{served: 0}, %{reason: :stopped}, _pid}
    refute_received {:event, [:worker, :exit], _, _, _}
  end

  test "a worker that can't start says why" do
    pool = unique_name()
    attach(pool, [[:worker, :exit]])
    {:error, _} = start_supervised({Pool, name: pool, workers: 1, python: "/bin/false"})
    assert_receive {:event, [:worker, :exit], %{served: 0}, metadata, _pid}
    assert %{reason: :start_failed, status: nil, error: %Error{kind: :no_workers}} = metadata
  end

  @tag wrong: :x
  test "the default logger", %{wrong: wrong} do
    pool = start_pool(workers: 1, max_queue: 0)
    assert Telemetry.attach_default_logger() == :ok
    assert Telemetry.attach_default_logger() == {:error, :already_exists}
    on_exit(fn -> if Code.ensure_loaded?(:telemetry), do: Telemetry.detach_default_logger() end)

    log =
      capture_log(fn ->
        ErlangPython.call(:math, :sqrt, [4], pool: pool)
        ErlangPython.call(:operator, :truediv, [1, 0], pool: pool)
        ErlangPython.stream(:builtins, :range, [3], pool: pool) |> Enum.to_list()
        ErlangPython.eval("erlang.call('telemetry_none')", %{}, pool: pool)
        ErlangPython.exec("import os; os._exit(3)", %{}, pool: pool)
        await_whole(pool, 1)
      end)

    assert log =~ ~r/\[info\].*Python math.sqrt took [\d.]+ ms \([\d.]+ ms until it began, /

    assert log =~
             ~r/\[info\].*Python operator.truediv failed after .*: ZeroDivisionError: division by zero/

    assert log =~ ~r/Python stream builtins.range done after [\d.]+ ms and 3 items/
    assert log =~ ~r/callback telemetry_none failed after/
    assert log =~ ~r/\[warn(ing)?\].*Python \(OS process \d+\) has ended .*exited with status 3/
    assert log =~ ~r/Python 3[\d.]+ \(OS process \d+\) is ready after/
    # What pools log without it is not said twice.
    refute log =~ "Python worker 1 of the pool #{inspect(pool)}"

    assert Telemetry.detach_default_logger() == :ok
    assert Telemetry.detach_default_logger() == {:error, :not_found}

    assert_raise ArgumentError, ~r/level of the Logger/, fn ->
      Telemetry.attach_default_logger(wrong)
    end
  end

  test "who looks is found out when the pool starts" do
    pool = start_pool(workers: 1)
    {:ok, handle} = Handle.fetch(pool)
    assert handle |> Slots.observed() |> Events.telemetry?()
  end
end
