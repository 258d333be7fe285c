defmodule ErlangPython.Pool.Releases do
  @moduledoc false
  # Which kept objects each worker is to be told to let go (pure). One message is under way to a worker at a time; what
  # comes meanwhile goes with the next, so that a hundred thousand releases are not as many messages, and a worker that is busy for
  # an hour has not more than one in front of it.

  alias ErlangPython.Pool.{Contexts, Pending}

  # Of nine bytes each at most: a message stays far below any :max_message_size.
  @most 4_096

  @opaque t :: %{Contexts.place() => [Pending.id()]}

  @spec new() :: t()
  def new, do: %{}

  @doc "Adds some of a worker's, and gives those that are to be sent now."
  @spec add(t(), Contexts.place(), [Pending.id()]) :: {[Pending.id()], t()}
  def add(releases, place, ids) do
    case releases do
      %{^place => waiting} -> {[], %{releases | place => Enum.reverse(ids, waiting)}}
      _none_under_way -> split(releases, place, ids)
    end
  end

  @doc "The one under way has ended; gives those that are to be sent now."
  @spec ended(t(), Contexts.place()) :: {[Pending.id()], t()}
  def ended(releases, place) do
    case releases do
      %{^place => []} -> {[], Map.delete(releases, place)}
      %{^place => ids} -> split(releases, place, ids)
      _worker_gone -> {[], releases}
    end
  end

  @doc "The worker has ended."
  @spec forget(t(), Contexts.place()) :: t()
  def forget(releases, place), do: Map.delete(releases, place)

  defp split(releases, place, ids) do
    {now, later} = Enum.split(ids, @most)
    {now, Map.put(releases, place, later)}
  end
end
