defmodule ErlangPython.Env.Provisioner do
  @moduledoc false
  # Runs provision.py and environment.py, once for all who ask for the same at the same time. Different
  # jobs run side by side; other nodes are kept apart by the scripts' own file locks.

  use GenServer

  require Logger

  # The hint's wheels would not help for want of a Python (environment.py), or where it is too old (bootstrap.py).
  @no_python [3, 77]

  alias ErlangPython.Env
  alias ErlangPython.Env.Problem
  alias ErlangPython.Error
  alias ErlangPython.Pool.Configured

  @typedoc "A command, what its failure adds to the error, and a warning that is logged before and told with any failure."
  @type job :: %{
          required(:command) => [String.t(), ...],
          required(:hint) => String.t(),
          optional(:warning) => String.t() | nil
        }

  @spec start_link(name: GenServer.name()) :: GenServer.on_start()
  def start_link(opts \\ []) do
    GenServer.start_link(__MODULE__, nil, name: Keyword.get(opts, :name, __MODULE__))
  end

  @doc """
  Runs a job and returns its output. Its steps go to a function, which runs in the calling process, or
  to the Logger.
  """
  # No timeout: an installation takes as long as the network does, and pip has its own.
  @spec run(GenServer.server(), job(), Env.progress() | nil) ::
          {:ok, [String.t()]} | {:error, Error.t()}
  def run(server, job, progress) do
    Configured.check_application!()
    run_there(server, job, progress)
  end

  defp run_there(server, job, nil), do: GenServer.call(server, {:run, job, nil}, :infinity)

  defp run_there(server, job, progress) do
    # No step comes after this function has ended, in whatever way.
    listener = :erlang.alias()

    try do
      {asker, monitor} = ask(server, {:run, job, listener})
      await(progress, listener, asker, monitor)
    after
      :erlang.unalias(listener)
    end
  end

  # The call waits elsewhere, so that the caller is free for the steps.
  defp ask(server, request) do
    spawn_monitor(fn -> exit({:answer, GenServer.call(server, request, :infinity)}) end)
  end

  defp await(progress, listener, asker, monitor) do
    receive do
      {^listener, step} ->
        progress.(step)
        await(progress, listener, asker, monitor)

      {:DOWN, ^monitor, :process, ^asker, {:answer, answer}} ->
        answer

      {:DOWN, ^monitor, :process, ^asker, reason} ->
        exit(reason)
    end
  end

  # Runs by port: the job, who waits for it, who hears of its steps, and its output so far (newest
  # line first).
  @impl true
  def init(nil), do: {:ok, %{}}

  @impl true
  def handle_call({:run, job, listener}, from, runs) do
    case Enum.find(runs, fn {_port, run} -> run.job == job end) do
      {port, run} -> {:noreply, %{runs | port => join(run, from, listener)}}
      nil -> start(job, from, listener, runs)
    end
  end

  @impl true
  def handle_info({port, {:data, {_eol, "progress: " <> step}}}, runs)
      when is_map_key(runs, port) do
    case runs[port].listeners do
      [] -> Logger.info("Python: " <> step)
      listeners -> for listener <- listeners, do: send(listener, {listener, step})
    end

    {:noreply, runs}
  end

  def handle_info({port, {:data, {_eol, line}}}, runs) when is_map_key(runs, port),
    do: {:noreply, update_in(runs[port].output, &[line | &1])}

  def handle_info({port, {:exit_status, status}}, runs) when is_map_key(runs, port) do
    {run, runs} = Map.pop!(runs, port)
    result = result(status, %{run | output: Enum.reverse(run.output)})
    Enum.each(run.waiting, &GenServer.reply(&1, result))
    {:noreply, runs}
  end

  def handle_info(_message, runs), do: {:noreply, runs}

  defp join(run, from, listener),
    do: %{run | waiting: [from | run.waiting], listeners: List.wrap(listener) ++ run.listeners}

  defp start(job, from, listener, runs) do
    if job[:warning], do: Logger.warning(job.warning)
    run = %{job: job, waiting: [], listeners: [], output: []}
    {:noreply, Map.put(runs, open(job), join(run, from, listener))}
  rescue
    error in ErlangError ->
      python = hd(job.command)
      {:reply, Problem.error("cannot start #{python}: #{inspect(error.original)}", python), runs}
  end

  defp open(%{command: [executable | arguments]}) do
    Port.open({:spawn_executable, executable}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      line: 65_536,
      args: arguments
    ])
  end

  defp result(0, run), do: {:ok, run.output}

  defp result(status, %{job: %{command: [python | _arguments]} = job} = run) do
    output = Enum.join(run.output, "\n")
    said = if output == "", do: "#{python} ended with status #{status}", else: output
    hint = if status in @no_python, do: "", else: job.hint
    warning = if job[:warning], do: "\n" <> job.warning, else: ""
    Problem.error(said <> hint <> warning, python, output)
  end
end
