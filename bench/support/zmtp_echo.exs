defmodule Bench.ZmtpEcho do
  @moduledoc false
  # Our ROUTER alone: whole ZMTP messages to a DEALER that sends them back, without pool and codec.

  alias Bench.Baseline
  alias ErlangPython.ZMTP.{Frame, Handler, Router}

  @behaviour Handler

  @dealer Path.expand("../baselines/dealer.py", __DIR__)

  @type t :: %{router: pid(), dealer: port(), writer: pid()}

  @doc "The echoes come to the process that calls this."
  @spec start() :: t()
  def start do
    {:ok, router} = Router.start_link(handler: __MODULE__, handler_arg: self())
    dealer = Baseline.open([@dealer, Router.endpoint(router)])

    writer =
      receive do
        {:writer, writer} -> writer
        {^dealer, {:exit_status, status}} -> raise "the DEALER ended with status #{status}"
      end

    receive do: ({:message, ["up"]} -> :ok)
    %{router: router, dealer: dealer, writer: writer}
  end

  @spec stop(t()) :: :ok
  def stop(echo) do
    Port.close(echo.dealer)
    GenServer.stop(echo.router)
  end

  @spec echo(t(), binary()) :: binary()
  def echo(%{writer: writer}, payload) do
    send(writer, {:tx, Frame.encode_message([payload])})
    receive do: ({:message, [payload]} -> payload)
  end

  @impl Handler
  def init(_peer, writer, caller) do
    send(caller, {:writer, writer})
    {:ok, caller}
  end

  @impl Handler
  def handle_messages(messages, caller) do
    for message <- messages, do: send(caller, {:message, message})
    {:ok, caller}
  end

  @impl Handler
  def handle_close(_reason, _caller), do: :ok

  @impl Handler
  def handle_info(_message, caller), do: {:ok, caller}
end
