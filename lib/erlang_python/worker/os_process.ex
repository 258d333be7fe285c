defmodule ErlangPython.Worker.OSProcess do
  @moduledoc false
  # A worker's OS process: started through a port, ended by signals to its process group.

  require Logger

  alias ErlangPython.Env.Paths
  alias ErlangPython.Error
  alias ErlangPython.Pool.Options

  # How often, and how far apart, a signal is tried that could not be sent.
  @tries 20
  @retry_ms 100

  @doc """
  Starts `python bootstrap.py` with the protocol's environment variables. The port belongs to the
  calling process; closing it closes the worker's stdin, which ends the worker.
  """
  @spec open(Path.t(), %{String.t() => String.t()}, Options.t()) ::
          {:ok, port(), os_pid :: non_neg_integer()} | {:error, Error.t()}
  def open(executable, protocol, options) do
    # The runtime's helper would exit with a status that may mean anything.
    if options.cd == nil or File.dir?(options.cd),
      do: start(executable, protocol, options),
      else: {:error, not_started(executable, "the folder in :cd is missing: #{options.cd}")}
  end

  defp start(executable, protocol, options) do
    settings =
      [
        :binary,
        :exit_status,
        :use_stdio,
        :stderr_to_stdout,
        :hide,
        args: [Paths.bootstrap()],
        env: environment(options, protocol)
      ] ++ if(options.cd, do: [cd: options.cd], else: [])

    port = Port.open({:spawn_executable, executable}, settings)

    case Port.info(port, :os_pid) do
      {:os_pid, os_pid} -> {:ok, port, os_pid}
      # It has ended already; its exit status is on the way.
      nil -> {:ok, port, 0}
    end
  rescue
    error -> {:error, not_started(executable, reason(error))}
  end

  defp not_started(executable, reason) do
    %Error{
      kind: :environment,
      message: "#{executable} can't be started: #{reason}",
      executed: :no,
      details: %{python: executable, output: []}
    }
  end

  # The user's own variables first: the protocol's are not theirs to change.
  defp environment(options, protocol) do
    for {name, value} <- options.env ++ Enum.to_list(protocol) do
      {native(name), if(value, do: native(value), else: false)}
    end
  end

  # Under a locale without UTF-8 the runtime takes each element for a byte.
  defp native(text) do
    if :file.native_name_encoding() == :latin1,
      do: :binary.bin_to_list(text),
      else: String.to_charlist(text)
  end

  defp reason(%ErlangError{original: posix}) when is_atom(posix),
    do: to_string(:file.format_error(posix))

  defp reason(error), do: Exception.message(error)

  @doc "Is a process in the group of another? Where the system does not say, it is taken for it."
  @spec in_group?(pos_integer(), group :: pos_integer()) :: boolean()
  def in_group?(os_pid, group) do
    # proc(5): the name in parentheses may hold anything; the group is the third field behind it.
    case File.read("/proc/#{os_pid}/stat") do
      {:ok, stat} ->
        [_state, _parent, found | _] = stat |> String.split(") ") |> List.last() |> String.split()
        found == Integer.to_string(group)

      {:error, _no_proc} ->
        not File.dir?("/proc/self")
    end
  end

  @doc """
  Sends a signal to the process and to all of its group, children that Python started included.
  A process that has ended is no error. Where the BEAM can't start a program for it (out of descriptors or
  processes), it is sent a little later; whoever then closes the port ends the process anyhow.
  """
  @spec signal(pos_integer(), :term | :kill) :: :ok
  def signal(os_pid, name), do: signal(os_pid, name, @tries)

  defp signal(os_pid, name, tries) when os_pid > 1 do
    unless sent?(os_pid, name) or tries == 1 do
      spawn(fn ->
        Process.sleep(@retry_ms)
        signal(os_pid, name, tries - 1)
      end)
    end

    :ok
  end

  defp signal(_unknown, _name, _tries), do: :ok

  defp sent?(os_pid, name) do
    # The group exists from the moment that bootstrap.py makes it, so both are named. The shell's own
    # `kill`: slim images have no other.
    kill = "kill -s #{if name == :kill, do: "KILL", else: "TERM"} -- -#{os_pid} #{os_pid}"
    {_output, _status} = System.cmd("/bin/sh", ["-c", kill], stderr_to_stdout: true)
    true
  rescue
    error in [ErlangError, SystemLimitError] ->
      Logger.warning("can't signal the OS process #{os_pid} now: #{Exception.message(error)}")
      false
  end
end
