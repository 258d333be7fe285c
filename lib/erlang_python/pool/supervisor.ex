defmodule ErlangPython.Pool.Supervisor do
  @moduledoc false
  # One pool. `:rest_for_one`: each later child holds what the earlier ones own.
  #
  #     Callers      the pool's tables and counters; cancels what dead callers leave
  #     Router       the ROUTER socket; one reader and one writer per connection
  #     workers      one process per Python process
  #     Manager      starts them again
  #
  # A Manager that crashes is restarted alone. It knows nothing of the workers that are there, so first of all it ends them.

  use Supervisor

  require Logger

  alias ErlangPython.Pool.{Callers, Directory, Handle, Manager, Options}
  alias ErlangPython.Worker.Channel
  alias ErlangPython.ZMTP

  # A head and its buffers, which have 64 KiB each at least: more can't fit in a message of 4 GiB.
  @max_frames 65_536
  # Each worker has two, and one more for each of its threads that calls Elixir.
  @max_connections 65_536
  # A thread that connects waits while C code holds Python's lock.
  @handshake_timeout 60_000

  @spec start_link(Options.t()) :: Supervisor.on_start()
  def start_link(options) do
    await_end(options)
    Supervisor.start_link(__MODULE__, options, name: via(options.name))
  end

  # Where the supervisor of this name was killed, that of its workers still ends them, and its name is needed.
  defp await_end(%{name: name} = options) do
    with nil <- whereis(name),
         workers when is_pid(workers) <- GenServer.whereis(workers(name)) do
      ref = Process.monitor(workers)

      receive do
        {:DOWN, ^ref, :process, ^workers, _reason} -> :ok
      after
        shutdown_ms(options) -> Process.demonitor(ref, [:flush])
      end
    end
  end

  @doc "How long a worker may take to end: its own patience with Python, and then some."
  @spec shutdown_ms(Options.t()) :: pos_integer()
  def shutdown_ms(options), do: options.grace + 5_000

  @spec whereis(atom()) :: pid() | nil
  def whereis(name), do: GenServer.whereis(via(name))

  @doc "The names of all pools that run."
  @spec names() :: [atom()]
  def names do
    Registry.select(ErlangPython.Pool.Names, [{{:"$1", :_, :_}, [{:is_atom, :"$1"}], [:"$1"]}])
  end

  defp via(name), do: {:via, Registry, {ErlangPython.Pool.Names, name}}

  @impl true
  def init(options) do
    name = options.name
    Enum.each(options.paths, &warn_if_absent(&1, name))

    children = [
      {Callers, options},
      %{id: Router, start: {__MODULE__, :start_router, [name]}},
      {DynamicSupervisor, strategy: :one_for_one, name: workers(name)},
      %{id: Manager, start: {__MODULE__, :start_manager, [name]}}
    ]

    Supervisor.init(children, strategy: :rest_for_one)
  end

  # Python passes over it without a word.
  defp warn_if_absent(path, name) do
    unless File.exists?(path) do
      Logger.warning(
        "the pool #{inspect(name)} has #{path} in :paths, which does not exist. The current folder is #{File.cwd!()}; " <>
          "what belongs to an application is named by Application.app_dir(:my_app, \"priv/python\")"
      )
    end
  end

  @doc "The supervisor of the pool's workers."
  @spec workers(atom()) :: Supervisor.name()
  def workers(name), do: via({name, :workers})

  # The handle is there once Callers has started, hence these wrappers.

  @doc false
  @spec start_router(atom()) :: GenServer.on_start()
  def start_router(name) do
    {:ok, %{options: options} = handle} = Handle.fetch(name)

    router =
      ZMTP.Router.start_link(
        transport: options.endpoint,
        handler: Channel,
        handler_arg: handle,
        max_message_size: options.max_message_size,
        max_frames: @max_frames,
        max_connections: @max_connections,
        handshake_timeout: @handshake_timeout,
        # Python reads between two requests only, and one may take as long as it likes.
        send_timeout: :infinity
      )

    with {:ok, pid} <- router do
      Directory.put_router(handle, pid, ZMTP.Router.endpoint(pid), ZMTP.Router.folder(pid))
      router
    end
  end

  @doc false
  @spec start_manager(atom()) :: GenServer.on_start()
  def start_manager(name) do
    {:ok, handle} = Handle.fetch(name)
    Manager.start_link(handle)
  end
end
