defprotocol ErlangPython.Encoder do
  @moduledoc """
  What Python gets for a struct.

  Without an implementation a struct goes out as a `dict` of its fields, under their names
  as `str`:

      iex> ErlangPython.eval!("sorted(version)", version: Version.parse!("1.2.3"))
      ["build", "major", "minor", "patch", "pre"]

  An implementation returns any other term, which is encoded in the struct's place:

      defimpl ErlangPython.Encoder, for: Money do
        def encode(money), do: {money.amount, money.currency}
      end

  To choose among the fields, derive it:

      @derive {ErlangPython.Encoder, only: [:id, :name]}
      defstruct [:id, :name, :password]

  `:except` leaves fields out. Structs with a natural twin in Python (dates and times,
  `MapSet`, `Range`, `Regex`, `URI`, `Decimal`, tensors) do not ask this protocol.
  """

  @fallback_to_any true

  @doc "The term that is encoded in place of the struct."
  @spec encode(t()) :: term()
  def encode(struct)
end

defimpl ErlangPython.Encoder, for: Any do
  defmacro __deriving__(module, struct, opts) do
    names = chosen(struct |> fields() |> Map.keys(), opts)

    pairs =
      for name <- names do
        {Atom.to_string(name), quote(do: Map.fetch!(struct, unquote(name)))}
      end

    quote do
      defimpl ErlangPython.Encoder, for: unquote(module) do
        def encode(struct), do: unquote({:%{}, [], pairs})
      end
    end
  end

  def encode(struct) do
    for {name, value} <- fields(struct), into: %{}, do: {Atom.to_string(name), value}
  end

  defp fields(struct), do: struct |> Map.from_struct() |> Map.delete(:__exception__)

  defp chosen(names, only: only), do: checked(only, names)
  defp chosen(names, except: except), do: names -- checked(except, names)
  defp chosen(names, []), do: names

  defp chosen(_names, opts) do
    raise ArgumentError,
          "expected either :only or :except to derive ErlangPython.Encoder, got: #{inspect(opts)}"
  end

  defp checked(chosen, names) do
    case chosen -- names do
      [] -> chosen
      unknown -> raise ArgumentError, "no such fields: #{inspect(unknown)}"
    end
  end
end
