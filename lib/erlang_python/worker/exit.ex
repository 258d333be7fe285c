defmodule ErlangPython.Worker.Exit do
  @moduledoc false
  # Why a worker ended, and what its request's caller is told (pure).

  alias ErlangPython.Error

  @typedoc """
  What is known: the port's exit status (nil if it was never seen), why the pool killed
  the worker itself (nil if it did not), and the last lines that Python printed.
  """
  @type t :: %{
          status: non_neg_integer() | nil,
          cause: nil | cause(),
          os_pid: pos_integer() | nil,
          output: [String.t()]
        }

  @typedoc "`:unstopped`: it ran on after the interrupt of a request that was to stop."
  @type cause :: {:worker_exit | :protocol | :unstopped, did :: String.t()}

  # Signals whose numbers are the same on Linux and macOS, but for SIGBUS and SIGSYS.
  @signals %{
    1 => "SIGHUP",
    2 => "SIGINT",
    3 => "SIGQUIT",
    4 => "SIGILL",
    5 => "SIGTRAP",
    6 => "SIGABRT",
    7 => "SIGBUS",
    8 => "SIGFPE",
    9 => "SIGKILL",
    11 => "SIGSEGV",
    13 => "SIGPIPE",
    14 => "SIGALRM",
    15 => "SIGTERM",
    24 => "SIGXCPU"
  }

  # SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV: those of Python's faulthandler.
  @crashes [4, 6, 7, 8, 11]

  @doc """
  The end of a request that died with the worker: it was running, or had ended and its result had not left, or waited
  for its turn and is not for another worker.
  """
  @spec lost(t(), :running | :ended | :waiting) :: Error.t()
  def lost(exit, state) do
    %Error{
      kind: kind(exit),
      message:
        "the Python worker #{who(exit)}#{how(exit)} #{before(state)}" <>
          where(exit) <> quoted(exit),
      executed: if(state == :waiting, do: :no, else: :maybe),
      details: details(exit)
    }
  end

  @doc "How it ended, to be said of a worker."
  @spec told(t()) :: String.t()
  def told(exit), do: who(exit) <> how(exit) <> where(exit) <> quoted(exit)

  @doc "Was it killed for a request that would not stop? Whoever made that has an error."
  @spec unstopped?(t()) :: boolean()
  def unstopped?(exit), do: match?(%{cause: {:unstopped, _did}}, exit)

  @doc "The worker ended while this stream was open in it."
  @spec lost_stream() :: Error.t()
  def lost_stream do
    %Error{
      kind: :worker_exit,
      message: "the Python worker of this stream has ended, and the stream with it",
      executed: :maybe,
      details: %{output: []}
    }
  end

  @doc "The worker ended before it was given this request, which was meant for no other."
  @spec lost_before() :: Error.t()
  def lost_before do
    %Error{
      kind: :worker_exit,
      message: "the Python worker has ended before it got this request",
      executed: :no,
      details: %{output: []}
    }
  end

  defp before(:running), do: "while it ran this request"
  defp before(:waiting), do: "before it began this request"
  defp before(:ended), do: "after it ran this request, whose result had not left it"

  @doc "The worker ended, or was stopped, before it was ready."
  @spec not_started(t(), Path.t() | nil) :: Error.t()
  def not_started(exit, executable) do
    %Error{
      kind: :no_workers,
      message:
        "a Python worker could not start: #{executable || "it"} #{how(exit)}" <>
          unready(exit) <> doubt(exit) <> quoted(exit),
      executed: :no,
      details: details(exit)
    }
  end

  @doc "What looks after a starting worker crashed itself; an error of ours says why."
  @spec crashed(term()) :: Error.t()
  def crashed({%Error{} = error, _stacktrace}), do: error

  def crashed(reason) do
    %Error{
      kind: :no_workers,
      message: "a Python worker could not start: #{Exception.format_exit(reason)}",
      executed: :no,
      details: %{output: []}
    }
  end

  @doc "The worker's setup raised `exception`."
  @spec not_set_up(t(), Error.t()) :: Error.t()
  def not_set_up(exit, exception) do
    %Error{
      kind: :no_workers,
      message:
        "a Python worker could not be set up (:paths, :preload, broadcasts with replay: true):\n" <>
          Exception.message(exception),
      cause: exception,
      executed: :no,
      details: details(exit)
    }
  end

  @doc """
  A port's exit status as `{:status, n}` or `{:signal, n}`. The runtime adds 128 to a signal's number, as shells do, so
  `os._exit(139)` can't be told from a segmentation fault.
  """
  @spec decode(non_neg_integer()) :: {:status | :signal, non_neg_integer()}
  def decode(status) when status > 128 and is_map_key(@signals, status - 128),
    do: {:signal, status - 128}

  def decode(status), do: {:status, status}

  defp kind(%{cause: {:protocol, _did}}), do: :protocol
  defp kind(_exit), do: :worker_exit

  defp who(%{os_pid: nil}), do: ""
  defp who(%{os_pid: pid}), do: "(OS process #{pid}) "

  defp how(%{cause: {_kind, did}}), do: "was killed because it " <> did
  defp how(%{status: nil}), do: "ended"

  defp how(%{status: status}) do
    case decode(status) do
      {:signal, 9} -> "was killed by signal 9 (SIGKILL: by hand, or out of memory)"
      {:signal, n} -> "was killed by signal #{n} (#{@signals[n]})"
      {:status, n} -> "exited with status #{n}"
    end
  end

  defp details(exit) do
    ended = if exit.status, do: Map.new([decode(exit.status)]), else: %{}
    Map.put(ended, :output, exit.output)
  end

  # A kill says itself what the worker had not done.
  defp unready(%{cause: nil}), do: " before it was ready"
  defp unready(_killed), do: ""

  # Python can show its stack at these signals, and does not by default.
  defp where(%{status: status, cause: nil, output: []}) when (status - 128) in @crashes,
    do: " (with `env: %{\"PYTHONFAULTHANDLER\" => \"1\"}` the pool shows in which line)"

  defp where(_exit), do: ""

  # A worker has no reason to end so before its first request.
  defp doubt(%{status: 0, cause: nil}), do: "; is it a Python interpreter?"
  defp doubt(_exit), do: ""

  defp quoted(%{output: []}), do: ""

  defp quoted(%{output: lines}),
    do: "; its last output:\n" <> Enum.map_join(lines, "\n", &("  " <> &1))
end
