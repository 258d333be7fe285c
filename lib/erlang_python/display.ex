defmodule ErlangPython.Display do
  @moduledoc ~S'''
  How a Python object looks: its forms by MIME type, as notebooks show them.

      iex> {:ok, table} = ErlangPython.run("""
      ...> class Table:
      ...>     def __repr__(self): return "a table"
      ...>     def _repr_html_(self): return "<table></table>"
      ...> Table()
      ...> """, %{}, display: true)
      iex> table.data
      %{"text/html" => "<table></table>", "text/plain" => "a table"}
      iex> inspect(table)
      "a table"

  The forms are those that Jupyter asks for (`_repr_html_`, `_repr_markdown_`, `_repr_svg_`, `_repr_png_`, `_repr_jpeg_`,
  `_repr_latex_`, `_repr_mimebundle_`), and pictures of matplotlib's figures. `"text/plain"`, Python's `repr`, is always
  there. IEx prints it. In Livebook, where Kino is loaded, the best of the others is rendered.

  They are made for `ErlangPython.sigil_PY/2`, `ErlangPython.python/2` and for `ErlangPython.run/3` with `display: true`, never
  for other requests. [Notebooks](notebooks.md) has the whole story.

  ## Other frontends

  A module with this behaviour, set as `config :erlang_python, display: MyDisplay`, takes the place of both. Its functions are
  called in the process that runs the cell.
  '''

  alias ErlangPython.Display

  @enforce_keys [:data]
  defstruct [:data]

  @typedoc ~S(Text, or the bytes of a picture, by MIME type; `"text/plain"` is always there.)
  @type t :: %__MODULE__{data: %{required(String.t()) => binary()}}

  @doc "Shows an output of a cell that still runs."
  @callback show(t()) :: term()

  @doc "What the cell's value is in Elixir, where its last expression is this."
  @callback render(t()) :: term()

  @doc "Shows it now, in the output of the process that calls this."
  @spec show(t()) :: :ok
  def show(%Display{} = display) do
    frontend().show(display)
    :ok
  end

  @doc "The term as which the frontend shows it: for Livebook a kino; for IEx the struct itself, which is inspected as text."
  @spec render(t()) :: term()
  def render(%Display{} = display), do: frontend().render(display)

  @doc """
  The first of these forms that there is, with its MIME type.

      iex> display = %ErlangPython.Display{data: %{"text/plain" => "x"}}
      iex> ErlangPython.Display.best(display, ["text/html", "text/plain"])
      {"text/plain", "x"}
  """
  @spec best(t(), [String.t()]) :: {String.t(), binary()} | nil
  def best(%Display{data: data}, types) do
    Enum.find_value(types, fn type ->
      case data do
        %{^type => form} -> {type, form}
        _other -> nil
      end
    end)
  end

  defp frontend do
    cond do
      set = Application.get_env(:erlang_python, :display) -> set
      Display.Kino.loaded?() -> Display.Kino
      true -> Display.Text
    end
  end

  defimpl Inspect do
    import Inspect.Algebra

    def inspect(display, _opts) do
      display.data
      |> Map.fetch!("text/plain")
      |> String.split("\n")
      |> Enum.intersperse(line())
      |> concat()
    end
  end
end
