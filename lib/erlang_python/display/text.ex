defmodule ErlangPython.Display.Text do
  @moduledoc false
  # The frontend of IEx and of scripts.

  @behaviour ErlangPython.Display

  @impl true
  def show(display), do: IO.puts(display.data["text/plain"])

  @impl true
  def render(display), do: display
end
