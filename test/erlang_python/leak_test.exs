defmodule ErlangPython.LeakTest do
  # Thousands of requests with every kind of end, twice: what the second round leaves is what the first left. Where some
  # of them kill their worker, and where none does.
  use ErlangPython.PoolCase, async: false

  alias ErlangPython.Pool.{Directory, Handle}

  @per_round 5_000

  test "10,000 requests with errors, timeouts, kills and dead callers leave nothing" do
    pool = start_pool(workers: 2, window: :auto, grace: 200, max_message_size: 1_000_000)
    {:ok, handle} = Handle.fetch(pool)
    round(pool, 1..@per_round)
    # The first look loads what looking takes.
    settled(pool, handle)
    before = settled(pool, handle)
    round(pool, 1..@per_round)
    eventually(fn -> assert compare(before, settled(pool, handle)) == %{} end)
    assert {:messages, []} = Process.info(self(), :messages)
  end

  # Bytes of both workers: what the allocators keep differs by less than 1 MB from round to round. 100 requests that are
  # stopped may leave less than 80 KB each.
  @noise 8_000_000

  test "workers that none of it kills have the memory that they had" do
    pool = start_pool(workers: 2, window: :auto, grace: 60_000, max_message_size: 1_000_000)
    before = gentle_round(pool)
    now = gentle_round(pool)
    assert Map.keys(now) == Map.keys(before)
    assert Enum.sum(Map.values(now)) < Enum.sum(Map.values(before)) + @noise
  end

  @interrupted 104
  defp kills?(n), do: rem(n, 500) == 4

  # Long enough for a busy machine, where the request is meant to end otherwise.
  @patience 60_000

  defp round(pool, numbers, at_once \\ 32) do
    numbers
    |> Task.async_stream(&request(pool, &1, rem(&1, 100)),
      max_concurrency: at_once,
      ordered: false,
      timeout: :infinity
    )
    |> Enum.each(fn {:ok, result} -> assert result == true end)
  end

  # In the second part never more than a worker can begin, so that each is interrupted.
  defp gentle_round(pool) do
    1..@per_round |> Enum.reject(&kills?/1) |> then(&round(pool, &1))
    round(pool, List.duplicate(@interrupted, 100), 2)
    await_whole(pool, 2)
    eventually(fn -> memory(Pool.workers(pool)) end)
  end

  defp memory(workers) do
    assert Enum.all?(workers, & &1.memory)
    Map.new(workers, &{&1.os_pid, &1.memory})
  end

  defp request(pool, n, kind) when kind in 0..3 do
    code = Enum.at(["1 / 0", "def (", "object()", "b'x' * 2_000_000"], kind)
    match?({:error, %Error{}}, ErlangPython.run(code, %{n: n}, pool: pool, timeout: @patience))
  end

  defp request(pool, n, 4) do
    code = if kills?(n), do: "import os; os._exit(1)", else: "import time; time.sleep(60)"
    timeout = if kills?(n), do: @patience, else: 20
    match?({:error, %Error{}}, ErlangPython.run(code, %{}, pool: pool, timeout: timeout))
  end

  defp request(pool, _n, 5) do
    task = ErlangPython.async(:time, :sleep, [60], pool: pool, timeout: :infinity)
    Task.shutdown(task, :brutal_kill)
    true
  end

  defp request(pool, n, 6), do: ErlangPython.cast(:math, :sqrt, [n], pool: pool) == :ok

  defp request(pool, _n, 7) do
    taken = 1..20 |> ErlangPython.map(:math, :sqrt, pool: pool) |> Enum.take(2)
    match?([_, _], taken)
  end

  defp request(pool, n, 8) do
    caller = spawn(fn -> ErlangPython.eval("n", %{n: n}, pool: pool) end)
    Process.exit(caller, :kill)
  end

  defp request(pool, _n, 9) do
    case ErlangPython.eval("'x' * 500_000", %{}, pool: pool, timeout: @patience) do
      {:ok, text} -> byte_size(text) == 500_000
      {:error, %Error{kind: :worker_exit}} -> true
      wrong -> {:text, wrong}
    end
  end

  # What is refused here already.
  defp request(pool, _n, 10) do
    kind = fn {:error, %Error{kind: kind}} -> kind end
    big = String.duplicate("x", 2_000_000)

    kind.(ErlangPython.call(:math, :sqrt, [<<1::1>>], pool: pool)) == :encode and
      kind.(ErlangPython.call(:builtins, :len, [big], pool: pool)) == :too_large
  end

  # A name for each request: Python must not make atoms here.
  defp request(pool, n, 11) do
    code = "import erlang; erlang.Atom('no_such_atom_' + str(n))"

    case ErlangPython.run(code, %{n: n}, pool: pool, timeout: @patience) do
      {:ok, "no_such_atom_" <> number} -> number == "#{n}"
      {:error, %Error{kind: :worker_exit}} -> true
      wrong -> {n, wrong}
    end
  end

  # One that had just ended when the next killed its worker loses its result.
  defp request(pool, n, _other) do
    case ErlangPython.eval("n", %{n: n}, pool: pool, timeout: @patience) do
      {:ok, ^n} -> true
      {:error, %Error{kind: :worker_exit}} -> true
      wrong -> {n, wrong}
    end
  end

  defp settled(pool, handle) do
    eventually(fn -> assert Task.Supervisor.children(ErlangPython.Casts) == [] end)
    await_whole(pool, 2)
    eventually(fn -> assert :ets.info(handle.callers, :size) <= 1 end)
    for process <- Process.list(), do: :erlang.garbage_collect(process)
    workers = Pool.workers(pool)

    %{
      processes: length(Process.list()),
      ports: length(Port.list()),
      tables: length(:ets.all()),
      entries: Enum.sum(for table <- Handle.tables(handle), do: :ets.info(table, :size)),
      atoms: :erlang.system_info(:atom_count),
      descriptors: descriptors(System.pid()),
      terms: :persistent_term.info().count,
      files: length(File.ls!(Directory.folder(handle))),
      binaries: div(:erlang.memory(:binary), 4_000_000),
      python: length(children()),
      python_descriptors: workers |> Enum.map(&descriptors(&1.os_pid)) |> Enum.max(),
      python_threads: workers |> Enum.map(&threads(&1.os_pid)) |> Enum.max()
    }
  end

  # What is more than before. Code that is loaded at its first use brings atoms.
  defp compare(before, now) do
    for {key, value} <- now,
        value > before[key] + slack(key),
        into: %{},
        do: {key, {before[key], value}}
  end

  defp slack(:atoms), do: 20
  defp slack(:binaries), do: 1
  defp slack(_exact), do: 0

  if match?({:unix, :linux}, :os.type()) do
    defp descriptors(os_pid), do: length(File.ls!("/proc/#{os_pid}/fd"))
    defp threads(os_pid), do: length(File.ls!("/proc/#{os_pid}/task"))
  else
    defp descriptors(_os_pid), do: 0
    defp threads(_os_pid), do: 0
  end

  defp children do
    for port <- Port.list(), {:os_pid, os_pid} <- [Port.info(port, :os_pid)], do: os_pid
  end
end
