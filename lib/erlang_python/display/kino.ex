defmodule ErlangPython.Display.Kino do
  @moduledoc false
  # The frontend of Livebook. Kino is no dependency: whether it is there is found out at run time, so that it
  # does not matter which of the two was compiled first.

  @behaviour ErlangPython.Display

  alias ErlangPython.Display

  # As a notebook would choose.
  @order ~w(text/html text/markdown image/svg+xml image/png image/jpeg image/gif text/latex)

  @spec loaded?() :: boolean()
  def loaded?, do: Code.ensure_loaded?(Kino) and Code.ensure_loaded?(Kino.HTML)

  @impl true
  def show(display) do
    case render(display) do
      %Display{data: data} -> IO.puts(data["text/plain"])
      kino -> kino(Kino, :render, [kino])
    end
  end

  @impl true
  def render(display) do
    case Display.best(display, @order) do
      {"text/html", html} -> kino(Kino.HTML, :new, [html])
      {"image/" <> _ = type, picture} -> kino(Kino.Image, :new, [picture, type])
      # Formulas stand between dollar signs in both.
      {_markdown_or_latex, text} -> kino(Kino.Markdown, :new, [text])
      nil -> display
    end
  end

  # Compiled where there is no Kino.
  defp kino(module, function, args), do: apply(module, function, args)
end
