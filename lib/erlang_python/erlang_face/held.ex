defmodule ErlangPython.ErlangFace.Held do
  @moduledoc false
  # Processes that hold something for a caller of `:py`, who finds them by a reference.

  alias ErlangPython.Pool.{Configured, NoPool}

  @registry ErlangPython.Answers

  @doc "Starts one. It can be found when this returns; raises `ErlangPython.Error` if the application is not running."
  @spec start(key :: term(), (... -> term())) :: :ok
  def start(key, hold) do
    unless Process.whereis(@registry), do: not_started!()
    starter = self()
    started = make_ref()

    {_pid, monitor} =
      spawn_monitor(fn ->
        {:ok, _registry} = Registry.register(@registry, key, nil)
        send(starter, started)
        hold.()
      end)

    receive do
      ^started ->
        Process.demonitor(monitor, [:flush])
        :ok

      # The application has just stopped.
      {:DOWN, ^monitor, :process, _pid, _reason} ->
        not_started!()
    end
  end

  @spec not_started!() :: no_return()
  defp not_started!, do: raise(NoPool.not_started(Configured.default()))

  @doc "Raises `ErlangPython.Error` if the application is not running."
  @spec find(key :: term()) :: {:ok, pid()} | :error
  def find(key) do
    Configured.check_application!()

    case Registry.lookup(@registry, key) do
      [{holder, _value}] -> {:ok, holder}
      [] -> :error
    end
  end
end
