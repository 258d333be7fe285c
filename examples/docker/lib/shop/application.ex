defmodule Shop.Application do
  @moduledoc false
  use Application

  @impl true
  def start(_type, _args) do
    Supervisor.start_link([{Task, &greet/0}], strategy: :one_for_one, name: Shop.Supervisor)
  end

  # The first call starts the pool.
  defp greet do
    six = ErlangPython.eval!("__import__('six').__file__")
    IO.puts("Python #{ErlangPython.info().python}, six in #{six}")
  end
end
