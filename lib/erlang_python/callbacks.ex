defmodule ErlangPython.Callbacks do
  @moduledoc false
  # Owns the tables of what Python may call and of what it is calling. They do no more than hold
  # rows, so this process never ends by itself.

  use GenServer

  alias ErlangPython.Callbacks.{Functions, Running}

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    Functions.new()
    Running.new()
    {:ok, nil}
  end
end
