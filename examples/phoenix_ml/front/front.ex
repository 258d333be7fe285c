defmodule PhoenixMl.Front do
  @moduledoc """
  The web layer where there is no Phoenix: Erlang's own HTTP server on 127.0.0.1, with the routes of
  `web/router.ex`, and a Python of its own that reads JSON. What it does with a request is in
  `PhoenixMl.Front.Routes`.
  """
  use Supervisor

  @spec start_link(term()) :: Supervisor.on_start()
  def start_link(_argument), do: Supervisor.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    children = [
      {ErlangPython.Pool, name: PhoenixMl.Front.JSON.pool(), workers: 1},
      PhoenixMl.Front.Server
    ]

    Supervisor.init(children, strategy: :one_for_one)
  end

  @doc "The port that it listens on."
  @spec port() :: :inet.port_number()
  defdelegate port, to: PhoenixMl.Front.Server
end
