defmodule ErlangPython.DocBlocks.ErlangCode do
  @moduledoc false
  # Evaluates an `erlang` block and compares its values.

  alias ErlangPython.DocBlocks.Values

  @spec run(String.t(), :erl_eval.binding_struct()) :: :erl_eval.binding_struct()
  def run(code, bindings), do: code |> Values.split() |> Enum.reduce(bindings, &check!/2)

  defp check!({code, nil}, bindings), do: code |> eval(bindings) |> elem(1)

  defp check!({code, expected}, bindings) do
    # First, for it makes atoms, as a compiled module would have before it runs.
    parsed = parse(expected <> ".")
    {value, bindings} = eval(code, bindings)
    text = "~tp" |> :io_lib.format([value]) |> IO.chardata_to_string()

    cond do
      String.contains?(expected, "...") -> Values.check_text!(expected, text, code)
      value == parsed |> elem(1) |> eval(bindings) |> elem(0) -> :ok
      true -> Values.differ!(code, text, expected)
    end

    bindings
  end

  @doc "The value of code that stands alone."
  @spec value(String.t()) :: term()
  def value(code), do: code |> eval([]) |> elem(0)

  @doc "Is it a module, or are its parts expressions? Raises where it is neither."
  @spec syntax!(String.t()) :: term()
  def syntax!("-module(" <> _ = code), do: compile!(code)
  def syntax!(code), do: for({part, _expected} <- Values.split(code), do: parse!(part))

  @doc "Makes a module of its source, which must give no warning, and loads it."
  @spec load!(String.t()) :: :ok
  def load!(code) do
    {module, beam} = compile!(code)
    {:module, ^module} = :code.load_binary(module, ~c"page", beam)
    :ok
  end

  # As a file, as only that may have macros.
  defp compile!("-module(" <> rest = code) do
    [name, _more] = String.split(rest, ")", parts: 2)
    File.write!(name <> ".erl", code)
    options = [:binary, :return_errors, :return_warnings, :warnings_as_errors]

    case :compile.file(String.to_charlist(name), options) do
      {:ok, module, beam, []} ->
        {module, beam}

      {:error, errors, warnings} ->
        raise "the module does not compile: #{inspect(errors ++ warnings)}"
    end
  end

  defp eval(code, bindings) when is_binary(code), do: code |> parse!() |> eval(bindings)

  defp eval(expressions, bindings) do
    {:value, value, bindings} = :erl_eval.exprs(expressions, bindings)
    {value, bindings}
  end

  defp parse!(code) do
    {:ok, expressions} = parse(code)
    expressions
  end

  # A text with `...` in it is none.
  defp parse(code) do
    {:ok, tokens, _line} = code |> String.to_charlist() |> :erl_scan.string()
    :erl_parse.parse_exprs(tokens)
  end
end
