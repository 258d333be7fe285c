defmodule ErlangPython.KinoStandIn do
  @moduledoc false
  # Kino can't be fetched where the tests run. This has those of its public functions that the library and the example
  # notebooks call; each gives what it got.

  @code """
  defmodule Kino do
    def render(term) do
      send(self(), {:kino, term})
      term
    end

    def start_child!(spec), do: ExUnit.Callbacks.start_supervised!(spec)
  end

  for {module, name} <- [{Kino.HTML, :html}, {Kino.Markdown, :markdown}] do
    defmodule module do
      def new(text) when is_binary(text), do: {:kino, unquote(name), text}
    end
  end

  defmodule Kino.Image do
    def new(content, "image/" <> _ = type) when is_binary(content), do: {:kino, type, content}
  end
  """

  @doc "Defines the modules; gives a function that takes them away again."
  @spec define() :: (... -> :ok)
  def define do
    modules = Code.compile_string(@code)

    fn ->
      for {module, _code} <- modules do
        :code.purge(module)
        :code.delete(module)
      end

      :ok
    end
  end
end
