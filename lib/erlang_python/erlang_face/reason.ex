defmodule ErlangPython.ErlangFace.Reason do
  @moduledoc false
  # An `ErlangPython.Error` as the reason that Erlang code matches on.

  alias ErlangPython.ErlangFace.Details
  alias ErlangPython.Error

  # Atoms are never collected. A class name that is no atom yet becomes one only while
  # fewer than this many have; after that it stays a binary.
  @max_new_atoms 1_000

  @type t :: :py.reason()

  @spec of(Error.t()) :: t()
  def of(%Error{kind: :python, type: "StopIteration"}), do: {:stop_iteration, :none}

  # Which Python has looked, and where.
  def of(%Error{kind: :python, type: type, notes: [_ | _]} = error)
      when type in ["ModuleNotFoundError", "ImportError"],
      do: {atom(type), [error.message | error.notes] |> Enum.join("\n") |> String.to_charlist()}

  def of(%Error{kind: kind} = error) when kind in [:python, :elixir],
    do: {error.type |> class_name() |> atom(), String.to_charlist(error.message)}

  def of(%Error{kind: kind}) when kind in [:timeout, :cancelled, :context_lost], do: kind

  def of(%Error{kind: :context_closed}), do: :context_not_bound

  def of(%Error{kind: :overloaded, details: %{current: current, max: max}}),
    do: {:overloaded, current, max}

  def of(%Error{kind: kind} = error) when kind in [:no_pool, :no_workers, :environment] do
    Details.log(:no_workers_available, error)
    :no_workers_available
  end

  def of(%Error{kind: kind, message: message}) when kind in [:worker_exit, :protocol],
    do: {:worker_down, message}

  def of(%Error{kind: :decode, message: message}), do: {:decode, message}

  def of(%Error{kind: kind, message: message}) when kind in [:encode, :too_large],
    do: {:encode, message}

  defp class_name(qualified), do: qualified |> String.split(".") |> List.last()

  @doc "The name of a class as an atom, as a binary once too many new ones have been seen."
  @spec atom(String.t()) :: atom() | String.t()
  def atom(name) do
    String.to_existing_atom(name)
  rescue
    ArgumentError -> new_atom(name)
    # Longer than an atom may be.
    SystemLimitError -> name
  end

  defp new_atom(name) do
    if byte_size(name) <= 255 and :counters.get(counter(), 1) < @max_new_atoms do
      :counters.add(counter(), 1, 1)
      String.to_atom(name)
    else
      name
    end
  end

  defp counter do
    case :persistent_term.get(__MODULE__, nil) do
      nil ->
        # Two at once may each make one: the bound is then twice as large, and still a bound.
        counter = :counters.new(1, [:write_concurrency])
        :persistent_term.put(__MODULE__, counter)
        counter

      counter ->
        counter
    end
  end
end
