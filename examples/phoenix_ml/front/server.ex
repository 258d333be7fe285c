defmodule PhoenixMl.Front.Server do
  @moduledoc false
  # Owns httpd, which inets supervises: starts it, knows its port, and stops it at the end.
  use GenServer

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_argument), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @spec port() :: :inet.port_number()
  def port, do: GenServer.call(__MODULE__, :port)

  @impl true
  def init(nil) do
    Process.flag(:trap_exit, true)

    case :inets.start(:httpd, options()) do
      {:ok, httpd} ->
        Process.monitor(httpd)
        {:ok, httpd}

      {:error, reason} ->
        {:stop, reason}
    end
  end

  defp options do
    # httpd wants folders, though no file is served.
    folder = System.tmp_dir!() |> String.to_charlist()

    [
      port: Application.fetch_env!(:phoenix_ml, PhoenixMl.Front)[:port],
      bind_address: {127, 0, 0, 1},
      server_name: ~c"phoenix_ml",
      server_root: folder,
      document_root: folder,
      modules: [PhoenixMl.Front.Routes],
      max_clients: 500,
      max_body_size: 1_000_000
    ]
  end

  @impl true
  def handle_call(:port, _from, httpd) do
    [port: port] = :httpd.info(httpd, [:port])
    {:reply, port, httpd}
  end

  @impl true
  def handle_info({:DOWN, _ref, :process, httpd, reason}, httpd), do: {:stop, reason, nil}
  def handle_info({:EXIT, _from, reason}, httpd), do: {:stop, reason, httpd}

  @impl true
  def terminate(_reason, nil), do: :ok
  def terminate(_reason, httpd), do: :inets.stop(:httpd, httpd)
end
