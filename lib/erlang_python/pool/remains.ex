defmodule ErlangPython.Pool.Remains do
  @moduledoc false
  # Which of a dead worker's requests are lost with it, and which another one may run (pure).

  alias ErlangPython.Pool.Pending
  alias ErlangPython.Worker.Running

  @type lost :: {Pending.id(), :running | :ended | :waiting}

  @doc """
  Splits the requests of `Pending.in_slot/3`, by what the worker had begun. Lost are those that it may have run, those that are for
  no other worker, and those that nobody waits for, which `waited_for?` tells.
  """
  @spec split(
          [{Pending.id(), :window | :beside}],
          Running.t(),
          waited_for? :: (Pending.id() -> boolean())
        ) :: {[lost()], unbegun :: [Pending.id()]}
  def split(requests, running, waited_for?) do
    {lost, unbegun} =
      Enum.split_with(requests, fn {id, kind} ->
        kind != :window or Running.begun?(running, id) or not waited_for?.(id)
      end)

    # Those that are nested in others have the larger ids, and hear of it first.
    lost = for {id, kind} <- Enum.sort(lost, :desc), do: {id, state(kind, id, running)}
    {lost, for({id, _kind} <- unbegun, do: id)}
  end

  defp state(:beside, _id, _running), do: :running

  defp state(:window, id, running) do
    cond do
      Running.last?(running, id) -> :running
      Running.begun?(running, id) -> :ended
      true -> :waiting
    end
  end
end
