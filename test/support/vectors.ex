defmodule ErlangPython.Vectors do
  @moduledoc false
  # The golden vectors that both languages read: docs/protocol.md says what their columns are.

  alias ErlangPython.MessagePack.{Decimals, Opaque}
  alias ErlangPython.Ref

  @folder Path.expand("../vectors", __DIR__)

  @spec path(String.t()) :: Path.t()
  def path(name), do: Path.join(@folder, name)

  @doc "The columns of each line."
  @spec rows(String.t()) :: [[String.t()]]
  def rows(name) do
    for line <- name |> path() |> File.read!() |> String.split("\n", trim: true),
        do: String.split(line, "\t")
  end

  @spec bytes(String.t()) :: binary()
  def bytes(hex), do: Base.decode16!(hex, case: :lower)

  @doc "The value of the Elixir column."
  @spec evaluate(String.t()) :: term()
  def evaluate(source) do
    {value, _bindings} =
      source
      |> String.replace(~r/ErlangPython\.(bytes|float)\(/, "\\1.(")
      |> Code.eval_string(
        bytes: &%ErlangPython.Bytes{data: &1},
        float: &%ErlangPython.Float{value: &1},
        hex: &bytes/1,
        object: &object(bytes(&1)),
        opaque: &%Opaque{term: &1},
        term: &:erlang.binary_to_term(bytes(&1))
      )

    value
  end

  defp object(<<_worker::64, id::64>> = name) do
    %Ref{
      id: id,
      name: name,
      type: "list",
      owner: self(),
      pool: nil,
      pool_id: make_ref(),
      slot: 1,
      generation: 1
    }
  end

  @doc "The codec's part of an `ErlangPython.Error`; sets and compiled expressions by what they say."
  @spec comparable(term()) :: term()
  def comparable(list) when is_list(list), do: Enum.map(list, &comparable/1)

  def comparable(%ErlangPython.Error{} = error) do
    error
    |> Map.take([:type, :message, :traceback, :notes])
    |> Map.put(:cause, error.cause && comparable(error.cause))
    |> Map.put(:formatted, error.details.formatted)
    |> Map.put(:relation, error.details[:relation])
  end

  def comparable(%Regex{} = regex), do: {Regex.source(regex), Regex.opts(regex)}

  # Without the Decimal library its text is what comes back.
  def comparable(%{__struct__: Decimal} = decimal), do: Decimals.to_text(decimal)

  def comparable(term), do: term
end
