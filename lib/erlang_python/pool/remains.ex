defmodule ErlangPython.Pool.Remains do
  @moduledoc false
  # Which of a dead worker's requests are lost with it, and which another one may run (pure).

  alias ErlangPython.Pool.Pending
  alias ErlangPython.Worker.Running

  @typedoc "`{:waiting, held_by}`: it had not begun, and what held it there is gone."
  @type state :: :running | :ended | :waiting | {:waiting, Pending.held_by()}

  @doc """
  Splits the requests of `Pending.in_slot/3`, by what the worker had begun. Lost are those that it may have run, those that are for
  no other worker, and those that nobody waits for, which `waited_for?` tells.
  """
  @spec split(
          [{Pending.id(), Pending.kind()}],
          Running.t(),
          waited_for? :: (Pending.id() -> boolean())
        ) :: {lost :: [{Pending.id(), state()}], unbegun :: [Pending.id()]}
  def split(requests, running, waited_for?) do
    running = Running.of_open(running, for({id, _kind} <- requests, do: id))

    {lost, unbegun} =
      Enum.split_with(requests, fn {id, kind} ->
        kind != :window or Running.begun?(running, id) or not waited_for?.(id)
      end)

    # Those that are nested in others have the larger ids, and hear of it first.
    lost = for {id, kind} <- Enum.sort(lost, :desc), do: {id, state(kind, id, running)}
    {lost, for({id, _kind} <- unbegun, do: id)}
  end

  defp state(:beside, _id, _running), do: :running

  defp state(kind, id, running) do
    cond do
      Running.last?(running, id) -> :running
      Running.begun?(running, id) -> :ended
      kind in [:window, :pinned] -> :waiting
      true -> {:waiting, kind}
    end
  end
end
