defmodule ErlangPython.Worker.Launch do
  @moduledoc false
  # From the pool's options to a Python process that is set up.

  alias ErlangPython.{Env, Error, Protocol}
  alias ErlangPython.Pool.{Directory, Replay}
  alias ErlangPython.Worker.{OSProcess, Printing, Running, State}
  alias ErlangPython.ZMTP.Router

  require Protocol

  @type result :: {:ok, State.t()} | {:error, Error.t(), State.t()}

  @doc "Starts the OS process. To build an environment takes as long as it takes: the time to start is counted after it."
  @spec launch(State.t()) :: result()
  def launch(%{handle: %{options: options}} = state) do
    case Env.interpreter(options.python, options.venv) do
      {:ok, executable} -> open(start_timer(%{state | executable: executable}))
      {:error, error} -> {:error, error, state}
    end
  end

  @doc "What the workers themselves need is not there yet: installs it, and starts again."
  @spec provision(State.t()) :: result()
  def provision(state) do
    forget(state)
    # An installation takes as long as the network does.
    cancel_timer(state)

    case Env.Runtime.provision(state.executable) do
      :ok -> open(start_timer(%{state | provisioned?: true}))
      {:error, error} -> {:error, error, state}
    end
  end

  @doc "Answers HELLO."
  @spec set_up(State.t()) :: State.t()
  def set_up(state) do
    replay = Directory.replay(state.handle)
    State.tell(state, :main, Protocol.type(:setup), 0, setup(state, replay))
    %{state | phase: :setup, replay: replay}
  end

  @doc "Leaves nothing of the process behind."
  @spec forget(State.t()) :: term()
  def forget(state) do
    if state.running, do: Running.delete(state.running)
    if state.token, do: Directory.delete_token(state.handle, state.token)
  end

  @doc "It has started, or failed to."
  @spec cancel_timer(State.t()) :: term()
  def cancel_timer(%{start_timer: nil}), do: :ok
  def cancel_timer(%{start_timer: timer}), do: Process.cancel_timer(timer)

  defp start_timer(%{handle: %{options: %{start_timeout: :infinity}}} = state), do: state

  defp start_timer(%{handle: %{options: %{start_timeout: ms}}} = state),
    do: %{state | start_timer: Process.send_after(self(), :start_timeout, ms)}

  defp open(%{handle: handle} = state) do
    runtime = runtime(state)
    token = 16 |> :crypto.strong_rand_bytes() |> Base.encode16(case: :lower)

    Router.mend(Directory.router(handle))

    case Running.create(Directory.folder(handle), token) do
      {:ok, running} ->
        Directory.put_token(handle, token, self())
        start(%{state | token: token, running: running}, runtime)

      {:error, error} ->
        {:error, error, state}
    end
  rescue
    # No folder for the runtime (Env.Cache.base/0).
    error in Error -> {:error, error, state}
  end

  defp start(%{handle: handle} = state, runtime) do
    case OSProcess.open(state.executable, variables(state, runtime), handle.options) do
      {:ok, port, os_pid} ->
        printing = Printing.start(state.printing, metadata(state, os_pid))
        {:ok, %{state | port: port, os_pid: os_pid, printing: printing}}

      {:error, error} ->
        {:error, error, state}
    end
  end

  defp variables(%{running: {running, _device}} = state, runtime) do
    %{
      "ERLANG_PYTHON_ENDPOINT" => Directory.endpoint(state.handle),
      "ERLANG_PYTHON_TOKEN" => state.token,
      "ERLANG_PYTHON_RUNNING" => running,
      "ERLANG_PYTHON_CHANNEL" => Atom.to_string(state.handle.options.channel),
      "ERLANG_PYTHON_RUNTIME" => runtime
    }
  end

  # What a release brings may be for another Python than this; then the cache has to do.
  defp runtime(%{provisioned?: false}), do: Env.Runtime.first_root()
  defp runtime(%{provisioned?: true}), do: Env.Runtime.root()

  defp metadata(%{handle: %{options: %{stdout: :ignore}}}, _os_pid), do: nil

  defp metadata(state, os_pid),
    do: [pool: state.handle.name, worker: state.name, os_pid: os_pid]

  defp setup(%{handle: %{options: options}} = state, replay) do
    %{
      "paths" => options.paths,
      "preload" => Enum.map(options.preload, fn {kind, text} -> [Atom.to_string(kind), text] end),
      "max_message_size" => options.max_message_size,
      "worker" => state.name,
      "pool" => inspect(state.handle.name),
      "packages" => packages(options),
      "replay" => Replay.encode(replay),
      "stdout" => Atom.to_string(options.stdout),
      "stdin" => Atom.to_string(options.stdin),
      "bars" => IO.ANSI.enabled?(),
      "reload" => Atom.to_string(options.reload)
    }
  end

  defp packages(%{venv: nil, python: %Env{kind: :requirements}}), do: "requirements"
  defp packages(%{venv: nil, python: %Env{kind: :uv}}), do: "project"
  defp packages(_options), do: "interpreter"
end
