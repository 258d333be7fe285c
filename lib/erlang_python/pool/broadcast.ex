defmodule ErlangPython.Pool.Broadcast do
  @moduledoc false
  # One request in every worker of a pool, each between two others of its main thread.

  alias ErlangPython.Error
  alias ErlangPython.Pool.{Handle, Manager, NoPool, Refs, Replay, Slots, Streams}
  alias ErlangPython.Pool.Intake.{Cancellation, Pinning}
  alias ErlangPython.Request
  alias ErlangPython.Request.{Message, Options, Reply}
  alias ErlangPython.Worker.Exit

  @typedoc """
  What workers that start later get: `:none` of it; `{:replay, name}` the request too, in place of an earlier one
  of this name, if it raised in no worker; `{:forget, name}` no longer the one of this name.
  """
  @type later :: :none | {:replay | :forget, Replay.name()}

  @typedoc "`:opened` under the Erlang face: the value is an iterator that stays in its worker."
  @type result ::
          {:ok, term()} | {:opened, Handle.t(), Streams.t(), term()} | {:error, Error.t()}

  # How long to wait before looking whether the pool is still there.
  @patience_ms 1_000

  @spec run(Handle.t(), Message.t(), Options.t(), later()) ::
          {:ok, %{Slots.slot() => result()}} | {:error, Error.t()}
  def run(handle, message, options, later \\ :none) do
    deadline = Request.deadline(options.timeout)

    with {:ok, packed} <- Message.pack(message, options, handle.options.max_message_size),
         {:ok, workers} <- running(handle, later, options, deadline) do
      state = %{handle: handle, packed: packed, options: options, deadline: deadline}
      state |> ask(workers) |> keep(state, workers, later)
    else
      {:refs, _packed, refs} -> {:error, Refs.in_broadcast(refs)}
      {:error, error} -> {:error, error}
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      {:error, NoPool.stopped(handle, :maybe)}
  end

  defp running(handle, later, options, deadline) do
    with {:ok, workers} <- Manager.running(handle, Request.remaining(deadline)) do
      case later do
        {:forget, name} -> Manager.forget(handle, name)
        _other -> {:ok, workers}
      end
    else
      {:error, :timeout} -> {:error, Request.timeout(handle, :no, options.timeout)}
      {:error, error} -> {:error, error}
    end
  end

  # A worker that has become ready since the others were asked has been set up without it.
  defp keep(results, %{handle: handle} = state, workers, {:replay, name}) do
    if Enum.any?(results, &raised?/1) do
      {:ok, results}
    else
      with {:ok, running} <- Manager.replay(handle, name, state.packed),
           do: {:ok, Map.merge(results, ask(state, running -- workers))}
    end
  end

  defp keep(results, _state, _workers, _later), do: {:ok, results}

  defp raised?({_slot, {:error, %Error{kind: kind}}}), do: kind in [:python, :elixir, :decode]
  defp raised?(_ended), do: false

  # All answers come by one alias, which lives until the last: a late one never reaches the mailbox.
  defp ask(state, workers) do
    ref = :erlang.alias([:explicit_unalias])

    try do
      {sent, results} = send_all(state, ref, workers)
      await(state, ref, sent, results)
    after
      :erlang.unalias(ref)
    end
  end

  defp send_all(%{handle: handle} = state, ref, workers) do
    Enum.reduce(workers, {%{}, %{}}, fn {slot, generation}, {sent, results} ->
      id = Slots.next_id(handle)
      tag = {ref, slot}

      part = %{
        id: id,
        message: {:request, state.packed},
        dest: ref,
        tag: tag,
        caller: self(),
        deadline: state.deadline
      }

      case Pinning.pin(handle, part, slot, generation) do
        :ok -> {Map.put(sent, slot, id), results}
        {:error, error} -> {sent, Map.put(results, slot, {:error, error})}
      end
    end)
  end

  defp await(_state, _ref, sent, results) when sent == %{}, do: results

  defp await(state, ref, sent, results) do
    left = Request.remaining(state.deadline)

    receive do
      {{^ref, slot}, reply} ->
        {id, sent} = Map.pop!(sent, slot)
        await(state, ref, sent, Map.put(results, slot, read(state, id, reply)))
    after
      min(left, @patience_ms) ->
        cond do
          left <= @patience_ms ->
            give_up(state, ref, sent, results, &timeout(state, &1))

          Handle.gone?(state.handle) ->
            give_up(state, ref, sent, results, fn _id -> stopped(state) end)

          true ->
            await(state, ref, sent, results)
        end
    end
  end

  defp read(%{handle: handle} = state, id, reply) do
    with {:opened, value} <- Reply.read(reply, state.options.face) do
      case Streams.fetch(handle, self(), id) do
        {:ok, stream} -> {:opened, handle, stream, value}
        :error -> {:error, Exit.lost_stream()}
      end
    end
  end

  # An answer that came meanwhile is better than none.
  defp give_up(state, ref, sent, results, error) do
    errors = Map.new(sent, fn {slot, id} -> {slot, error.(id)} end)
    :erlang.unalias(ref)

    Enum.reduce(sent, results, fn {slot, id}, results ->
      receive do
        {{^ref, ^slot}, reply} -> Map.put(results, slot, read(state, id, reply))
      after
        0 ->
          Streams.drop(state.handle, self(), id)
          Map.put(results, slot, {:error, errors[slot]})
      end
    end)
  end

  defp timeout(%{handle: handle} = state, id) do
    executed = Cancellation.cancel(handle, id)
    Request.timeout(handle, executed, state.options.timeout)
  end

  defp stopped(state), do: NoPool.stopped(state.handle, :maybe)
end
