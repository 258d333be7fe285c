defmodule ErlangPython.Iterator do
  @moduledoc false
  # An enumerable that Python iterates: `ErlangPython.iterator/1`. When it is encoded, a process of its own
  # begins to hold the enumeration, suspended between two requests for more. It ends with the last element, when
  # Python lets go of its iterator, and with its owner (who encoded it, if nobody else was named) or the worker that
  # pulls.

  @enforce_keys [:enumerable]
  defstruct [:enumerable]

  @type t :: %__MODULE__{enumerable: Enumerable.t()}

  # A batch ends when it has taken this long: a slow enumerable's elements must not wait for one another.
  @longest_batch_ms 2

  @owner {__MODULE__, :owner}
  @started {__MODULE__, :started}
  @taken {__MODULE__, :taken}

  @doc "Whose end ends the iterators that the calling process encodes from now on."
  @spec put_owner(pid()) :: term()
  def put_owner(pid), do: Process.put(@owner, pid)

  @doc "Starts the process; `take_started/0` gives all that the caller has started since."
  @spec start(t()) :: pid()
  def start(%__MODULE__{enumerable: enumerable}) do
    owner = Process.get(@owner, self())
    pid = spawn(fn -> init(owner, enumerable) end)
    Process.put(@started, [pid | Process.get(@started, [])])
    pid
  end

  @spec take_started() :: [pid()]
  def take_started, do: Process.delete(@started) || []

  @doc "From now on the end of `owner` ends them, and no longer that of the calling process, which has started them."
  @spec hand_over([pid()], owner :: pid()) :: :ok
  def hand_over(pids, owner), do: Enum.each(pids, &send(&1, {:owner, owner}))

  @doc "Ends iterators that Python has never seen, or can't use any more."
  @spec stop([pid()]) :: :ok
  def stop(pids), do: Enum.each(pids, &send(&1, :halt))

  @doc """
  Takes at most `most` elements, fewer if they come slowly. `true` says that they were the last. `worker` is the
  process whose end ends the iterator.
  """
  @spec next(pid(), pos_integer(), worker :: pid()) ::
          {:ok, list(), boolean()}
          | {:error, :error | :throw | :exit, term(), Exception.stacktrace()}
  def next(pid, most, worker) do
    ref = :erlang.monitor(:process, pid, alias: :reply_demonitor)
    send(pid, {:next, ref, most, worker, [self() | Process.get(:"$callers", [])]})

    receive do
      {^ref, reply} -> reply
      {:DOWN, ^ref, :process, _pid, _reason} -> {:error, :exit, :the_iterator_has_ended, []}
    end
  end

  # --- its process

  defp init(owner, enumerable) do
    continue = fn command ->
      Enumerable.reduce(enumerable, command, fn item, {left, deadline} ->
        Process.put(@taken, [item | Process.get(@taken)])

        if left == 1 or System.monotonic_time(:millisecond) >= deadline,
          do: {:suspend, nil},
          else: {:cont, {left - 1, deadline}}
      end)
    end

    loop(%{continue: continue, worker: nil, watch: nil, owner: Process.monitor(owner)})
  end

  defp loop(%{owner: owner, watch: watch} = state) do
    receive do
      {:next, from, most, worker, callers} ->
        # What the elements call is called for whoever waits for them.
        Process.put(:"$callers", callers)
        state |> watch(worker) |> pull(from, most)

      {:owner, owner} ->
        Process.demonitor(state.owner, [:flush])
        loop(%{state | owner: Process.monitor(owner)})

      :halt ->
        halt(state)

      {:DOWN, ref, :process, _pid, _reason} when ref == owner or ref == watch ->
        halt(state)
    end
  end

  defp watch(%{worker: worker} = state, worker), do: state

  defp watch(state, worker) do
    if state.watch, do: Process.demonitor(state.watch, [:flush])
    %{state | worker: worker, watch: Process.monitor(worker)}
  end

  defp pull(%{continue: {:failed, failure}}, from, _most), do: send(from, {from, failure})

  defp pull(state, from, most) do
    Process.put(@taken, [])
    deadline = System.monotonic_time(:millisecond) + @longest_batch_ms

    case resume(state.continue, {:cont, {most, deadline}}) do
      {:suspended, _acc, continue} ->
        send(from, {from, {:ok, taken(), false}})
        loop(%{state | continue: continue})

      {ended, _acc} when ended in [:done, :halted] ->
        send(from, {from, {:ok, taken(), true}})

      {:failed, failure} ->
        failed(state, from, taken(), failure)
    end
  end

  # The elements before it come first.
  defp failed(_state, from, [], failure), do: send(from, {from, failure})

  defp failed(state, from, taken, failure) do
    send(from, {from, {:ok, taken, false}})
    loop(%{state | continue: {:failed, failure}})
  end

  defp resume(continue, command) do
    continue.(command)
  catch
    kind, reason -> {:failed, {:error, kind, reason, __STACKTRACE__}}
  end

  defp taken, do: @taken |> Process.get() |> Enum.reverse()

  # So that `Stream.resource` closes what it has open.
  defp halt(%{continue: {:failed, _failure}}), do: :ok
  defp halt(state), do: state.continue.({:halt, nil})
end
