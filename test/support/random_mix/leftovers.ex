defmodule ErlangPython.RandomMix.Leftovers do
  @moduledoc false
  # What a pool holds once nothing runs in it, to be compared before and after.

  import ExUnit.Assertions

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Pool
  alias ErlangPython.Pool.{Directory, Handle, Slots}

  @doc "What there is of processes, ports, tables and files, and the most of what a worker has; fails while something is open."
  def left(pool, workers) do
    {:ok, handle} = Handle.fetch(pool)
    assert %{workers: ^workers, idle: ^workers, queued: 0, in_flight: 0} = Pool.stats(pool)
    # What hangs in cycles, such as an iterator in the frames of an exception.
    {:ok, _results} = Pool.broadcast(pool, {:exec, "import gc\ngc.collect()"})

    assert_nothing_open(handle)
    processes = led_by(Process.group_leader())
    channels = for slot <- 1..workers, do: channels(handle, slot)
    %{exact: exact(handle, processes, Enum.sum(channels)), python: python(pool, channels)}
  end

  defp assert_nothing_open(handle) do
    assert Running.parents(handle, 1) == []

    for table <- [:pending, :queue, :streams, :contexts],
        do: assert({table, handle |> Map.fetch!(table) |> :ets.tab2list()} == {table, []})

    assert :ets.info(handle.callers, :size) <= 1

    for slot <- 1..Slots.count(handle)//1 do
      assert {Slots.callbacks(handle, slot), Slots.beside(handle, slot),
              Slots.in_flight(handle, slot)} == {0, 0, 0},
             "slot #{slot}, of callbacks: #{inspect(:ets.tab2list(Running))}"
    end
  end

  # A channel has a reader and a writer, and a socket.
  defp exact(handle, processes, channels) do
    ports =
      for port <- Port.list(),
          {:connected, pid} <- [Port.info(port, :connected)],
          pid in processes,
          do: port

    %{
      processes: length(processes) - 2 * channels,
      ports: length(ports) - channels,
      tables: Enum.count(:ets.all(), &(:ets.info(&1, :owner) in processes)),
      files: length(File.ls!(Directory.folder(handle)))
    }
  end

  defp python(pool, channels) do
    workers = Pool.workers(pool)

    [
      channels: Enum.max(channels),
      descriptors: workers |> Enum.map(&count(&1, "fd")) |> Enum.max(),
      threads: workers |> Enum.map(&count(&1, "task")) |> Enum.max()
    ]
  end

  defp channels(handle, slot) do
    {_generation, worker, _writer} = Directory.worker(handle, slot)
    map_size(:sys.get_state(worker).readers)
  end

  defp count(%{os_pid: os_pid}, what) do
    case File.ls("/proc/#{os_pid}/#{what}") do
      {:ok, entries} -> length(entries)
      {:error, _reason} -> 0
    end
  end

  @doc "The most that a worker may have."
  # The main and the control channel, four spare threads, the loop, and its executor's threads
  # (as many as there are cores, and four).
  def limit(:channels), do: 2 + 4 + 1 + System.schedulers_online() + 4
  # Main, control, parent, loop.
  def limit(:threads), do: 4 + 4 + System.schedulers_online() + 4
  def limit(:descriptors), do: limit(:channels) + 15

  @doc "The processes of a group leader's."
  def led_by(leader) do
    for pid <- Process.list(),
        {:group_leader, ^leader} <- [Process.info(pid, :group_leader)],
        do: pid
  end
end
