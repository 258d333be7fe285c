defmodule ErlangPython.ErlangFace.Answers do
  @moduledoc false
  # The results of `py:call_async`: one process each, which makes the call and keeps its result
  # until it is fetched or its owner ends. So nothing ever stands in the owner's mailbox.

  import ErlangPython.Timeout, only: [is_timeout: 1]

  alias ErlangPython.ErlangFace.{Calls, Held, OnBehalf, Streams}
  alias ErlangPython.Timeout

  @default_timeout 30_000

  @spec start(term(), term(), term(), term()) :: reference()
  def start(module, function, args, kwargs \\ %{}) do
    ref = make_ref()
    owner = self()

    call =
      OnBehalf.carry(fn ->
        # A stream is not to end with the process that made the call.
        module |> Calls.call(function, args, kwargs, :infinity) |> Streams.give(owner)
      end)

    :ok = Held.start(ref, fn -> hold(owner, call) end)
    ref
  end

  # The call has a process of its own, so that this one sees the owner's end while Python runs.
  defp hold(owner, call) do
    holder = self()
    owner_ref = Process.monitor(owner)
    {caller, caller_ref} = spawn_monitor(fn -> send(holder, {:answer, self(), call.()}) end)

    receive do
      {:answer, ^caller, result} ->
        Process.demonitor(caller_ref, [:flush])
        keep(owner_ref, result)

      {:DOWN, ^caller_ref, :process, _pid, _reason} ->
        :ok

      {:DOWN, ^owner_ref, :process, _pid, _reason} ->
        Process.exit(caller, :kill)
    end
  end

  defp keep(owner_ref, result) do
    receive do
      {:fetch, fetcher, tag} ->
        fetcher_ref = Process.monitor(fetcher)
        send(tag, {tag, result})
        await_taken(owner_ref, fetcher_ref, tag, result)

      {:DOWN, ^owner_ref, :process, _pid, _reason} ->
        :ok
    end
  end

  # The answer may have come after the fetcher's timeout; then somebody may fetch it again.
  defp await_taken(owner_ref, fetcher_ref, tag, result) do
    receive do
      {:taken, ^tag} ->
        :ok

      {:missed, ^tag} ->
        Process.demonitor(fetcher_ref, [:flush])
        keep(owner_ref, result)

      {:DOWN, ^fetcher_ref, :process, _pid, _reason} ->
        keep(owner_ref, result)

      {:DOWN, ^owner_ref, :process, _pid, _reason} ->
        :ok
    end
  end

  @spec await(term(), term()) :: Calls.result()
  def await(ref, timeout \\ @default_timeout)

  def await(ref, timeout) when is_reference(ref) and is_timeout(timeout) do
    case Held.find(ref) do
      {:ok, holder} -> fetch(holder, Timeout.receivable(timeout))
      :error -> {:error, :invalid_args}
    end
  end

  def await(_ref, _timeout), do: {:error, :invalid_args}

  defp fetch(holder, timeout) do
    tag = :erlang.monitor(:process, holder, alias: :reply_demonitor)
    send(holder, {:fetch, self(), tag})

    receive do
      {^tag, result} ->
        send(holder, {:taken, tag})
        result

      {:DOWN, ^tag, :process, _pid, _reason} ->
        {:error, :invalid_args}
    after
      timeout ->
        Process.demonitor(tag, [:flush])
        late(holder, tag)
    end
  end

  defp late(holder, tag) do
    receive do
      {^tag, result} ->
        send(holder, {:taken, tag})
        result
    after
      0 ->
        send(holder, {:missed, tag})
        {:error, :timeout}
    end
  end
end
