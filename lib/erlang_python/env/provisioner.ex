defmodule ErlangPython.Env.Provisioner do
  @moduledoc false
  # Runs provision.py, once for all who ask for the same at the same time. Different jobs run
  # side by side; other nodes are kept apart by the script's own file lock.

  use GenServer

  require Logger

  alias ErlangPython.Env.{Paths, Problem}
  alias ErlangPython.Error

  @type job :: %{
          python: Path.t(),
          runtime: Path.t(),
          lock: Path.t(),
          wheels: Path.t() | nil
        }

  @spec start_link(name: GenServer.name()) :: GenServer.on_start()
  def start_link(opts \\ []) do
    GenServer.start_link(__MODULE__, nil, name: Keyword.get(opts, :name, __MODULE__))
  end

  # No timeout: an installation takes as long as the network does, and pip has its own.
  @spec provision(GenServer.server(), job()) :: :ok | {:error, Error.t()}
  def provision(server, job), do: GenServer.call(server, {:provision, job}, :infinity)

  # Runs by port: the job, who waits for it, and its output so far (newest line first).
  @impl true
  def init(nil), do: {:ok, %{}}

  @impl true
  def handle_call({:provision, job}, from, runs) do
    case Enum.find(runs, fn {_port, run} -> run.job == job end) do
      {port, run} -> {:noreply, %{runs | port => %{run | waiting: [from | run.waiting]}}}
      nil -> start(job, from, runs)
    end
  end

  @impl true
  def handle_info({port, {:data, {_eol, line}}}, runs) when is_map_key(runs, port) do
    if String.starts_with?(line, "installing "), do: Logger.info("Python: " <> line)
    {:noreply, update_in(runs[port].output, &[line | &1])}
  end

  def handle_info({port, {:exit_status, status}}, runs) when is_map_key(runs, port) do
    {run, runs} = Map.pop!(runs, port)
    result = result(status, run)
    Enum.each(run.waiting, &GenServer.reply(&1, result))
    {:noreply, runs}
  end

  def handle_info(_message, runs), do: {:noreply, runs}

  defp start(job, from, runs) do
    {:noreply, Map.put(runs, open(job), %{job: job, waiting: [from], output: []})}
  rescue
    error in ErlangError ->
      reason = "cannot start #{job.python}: #{inspect(error.original)}"
      {:reply, Problem.error(reason, job.python), runs}
  end

  defp open(job) do
    Port.open({:spawn_executable, job.python}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      line: 65_536,
      # Isolated: a module in the current folder or in PYTHONPATH must not get in the way.
      args: ["-I", Paths.provision_script() | arguments(job)]
    ])
  end

  defp arguments(job) do
    wheels = if job.wheels, do: ["--wheels", job.wheels], else: []
    ["--runtime", job.runtime, "--lock", job.lock | wheels]
  end

  defp result(0, _run), do: :ok

  defp result(status, run) do
    output = run.output |> Enum.reverse() |> Enum.join("\n")
    said = if output == "", do: "#{run.job.python} ended with status #{status}", else: output
    Problem.error(said <> hint(run.job), run.job.python, output)
  end

  defp hint(%{wheels: nil, lock: lock}) do
    "\nwithout a network: fill a folder by `pip download --no-deps --only-binary :all: " <>
      "--dest DIR -r #{lock}` and set `config :erlang_python, wheels: DIR`"
  end

  defp hint(_job), do: ""
end
