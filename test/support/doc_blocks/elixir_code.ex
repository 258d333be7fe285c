defmodule ErlangPython.DocBlocks.ElixirCode do
  @moduledoc false
  # Evaluates an `elixir` block and compares its values.

  alias ErlangPython.DocBlocks.Values
  alias ErlangPython.Notebook

  @type state :: {Code.binding(), Macro.Env.t()}

  @spec new() :: state()
  def new, do: {[], Code.env_for_eval([])}

  @spec run(String.t(), state()) :: {printed :: String.t(), state()}
  def run(code, state) do
    {state, printed} =
      ExUnit.CaptureIO.with_io(fn -> code |> Values.split() |> Enum.reduce(state, &check!/2) end)

    {printed, state}
  end

  defp check!({code, nil}, state), do: code |> eval(state) |> elem(1)

  defp check!({code, "** (" <> _ = expected}, state) do
    {value, _state} = eval(code, state)
    Values.differ!(code, inspect(value), expected)
  rescue
    error in RuntimeError ->
      reraise error, __STACKTRACE__

    error ->
      text = Exception.format_banner(:error, error)
      Values.check_text!(expected, text, code)
      state
  end

  defp check!({code, expected}, state) do
    {value, state} = eval(code, state)

    if String.contains?(expected, "...") do
      text = inspect(value, limit: :infinity, printable_limit: :infinity)
      Values.check_text!(expected, text, code)
    else
      {expected_value, _state} = eval(expected, state)

      if value != expected_value,
        do: Values.differ!(code, inspect(value, pretty: true), expected)
    end

    state
  end

  defp eval(code, {binding, env}) do
    {value, binding, env} =
      code
      |> Notebook.readable()
      |> Code.string_to_quoted!()
      |> Code.eval_quoted_with_env(binding, env)

    {value, {binding, env}}
  end
end
