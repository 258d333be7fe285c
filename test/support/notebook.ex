defmodule ErlangPython.Notebook do
  @moduledoc false
  # Evaluates cells one after another as Livebook does, in the calling process: with the variables, the imports and the
  # process's dictionary of the cells before.

  @enforce_keys [:binding, :env]
  defstruct [:binding, :env, dictionary: []]

  @type t :: %__MODULE__{
          binding: Code.binding(),
          env: Macro.Env.t(),
          dictionary: [{term(), term()}]
        }

  @spec new() :: t()
  def new do
    {_value, _binding, env} =
      Code.eval_quoted_with_env(quote(do: import(ErlangPython)), [], Code.env_for_eval([]))

    %__MODULE__{binding: [], env: env}
  end

  @doc "Runs a cell; `file` is what Livebook calls it."
  @spec run(t(), String.t() | Macro.t(), file: String.t()) :: {term(), t()}
  def run(notebook, code, opts \\ [])

  def run(notebook, code, opts) when is_binary(code) do
    file = Keyword.get(opts, :file, "notebook.livemd#cell:1")
    run(notebook, code |> readable() |> Code.string_to_quoted!(file: file), opts)
  end

  def run(notebook, quoted, opts) do
    file = Keyword.get(opts, :file, "notebook.livemd#cell:1")
    for {key, _value} <- Process.get(), key?(key), do: Process.delete(key)
    for {key, value} <- notebook.dictionary, do: Process.put(key, value)

    {value, binding, env} =
      Code.eval_quoted_with_env(quoted, notebook.binding, %{notebook.env | file: file})

    dictionary = for {key, value} <- Process.get(), key?(key), do: {key, value}
    {value, %{notebook | binding: binding, env: env, dictionary: dictionary}}
  end

  # Ours; the others belong to ExUnit.
  defp key?({module, _key}) when is_atom(module),
    do: module |> Atom.to_string() |> String.starts_with?("Elixir.ErlangPython")

  defp key?(_key), do: false

  @doc "Elixir reads `~PY` from 1.15 on; before, the same is written with the macro `python`."
  @spec readable(String.t()) :: String.t()
  def readable(code) do
    if Version.match?(System.version(), ">= 1.15.0"),
      do: code,
      else: String.replace(code, "~PY", "python ~S")
  end
end
