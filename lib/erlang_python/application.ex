defmodule ErlangPython.Application do
  @moduledoc false
  # What all pools share. `:one_for_one`: none of these holds anything of another.
  #
  #     Callbacks     what Python may call, and what it is calling
  #     State.Table   values shared by Elixir and Python
  #     Traces        spans that were recorded lately
  #     py_semaphore  the semaphore of the Erlang face
  #     Heir          ends the open requests of pools that are gone
  #     Names         pool name → supervisor
  #     Provisioner   builds environments and installs runtime packages, once for all who ask
  #     Casts         requests that nobody waits for
  #     Answers       results that Erlang callers have not fetched yet, and streams that are pushed to them
  #     Cell.Session  the namespaces of notebooks' cells
  #     Pools         the configured pools, started by their first use; last, so they end first
  #
  use Application

  @impl true
  def start(_type, _args) do
    ErlangPython.Settings.warn(Application.get_all_env(:erlang_python))
    # Now, and not when Python first sends something, or when a pool is first called.
    ErlangPython.Settings.send_to!()
    ErlangPython.Pool.Configured.check_all!()

    children = [
      ErlangPython.Callbacks,
      ErlangPython.State.Table,
      ErlangPython.Telemetry.Traces,
      :py_semaphore,
      ErlangPython.Pool.Heir,
      {Registry, keys: :unique, name: ErlangPython.Pool.Names},
      ErlangPython.Env.Provisioner,
      {Task.Supervisor, name: ErlangPython.Casts},
      {Registry, keys: :unique, name: ErlangPython.Answers},
      ErlangPython.Cell.Session,
      {DynamicSupervisor, strategy: :one_for_one, name: ErlangPython.Pools}
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: ErlangPython.Supervisor)
  end
end
