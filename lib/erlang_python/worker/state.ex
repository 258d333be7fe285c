defmodule ErlangPython.Worker.State do
  @moduledoc false
  # What a worker's process knows, and how it talks to its Python.

  import ErlangPython.Pool.Pending.Row, only: [row: 1]

  alias ErlangPython.{MessagePack, Protocol, Worker}
  alias ErlangPython.Pool.{Handle, Pending, Replay, Slots}
  alias ErlangPython.Worker.{Exit, OSProcess, Pings, Printing, Running}
  alias ErlangPython.ZMTP.Frame

  @enforce_keys [:handle, :slot, :generation, :name, :launched]
  defstruct @enforce_keys ++
              [
                phase: :launching,
                executable: nil,
                port: nil,
                os_pid: nil,
                token: nil,
                running: nil,
                writers: %{},
                readers: %{},
                hello: nil,
                replay: nil,
                printing: Printing.new(),
                provisioned?: false,
                start_timer: nil,
                cancels: %{},
                rebalancing: %{},
                pings: Pings.new(),
                # Has it told of more memory than it may have?
                heavy?: false,
                # Who asked for what a stream's pull has so far.
                flushes: %{},
                drain_until: nil,
                # How it ended, as far as it is known.
                status: nil,
                cause: nil,
                failed: nil
              ]

  @type phase :: :launching | :setup | :ready | :draining | :stopping
  @type t :: %__MODULE__{
          handle: Handle.t(),
          slot: Slots.slot(),
          generation: pos_integer(),
          name: String.t(),
          launched: integer(),
          phase: phase(),
          executable: Path.t() | nil,
          port: port() | nil,
          os_pid: pos_integer() | nil,
          token: String.t() | nil,
          running: Running.file() | nil,
          writers: %{optional(Worker.channel()) => pid()},
          readers: %{optional(reference()) => {Worker.channel(), pid()}},
          hello: map() | nil,
          replay: Replay.t() | nil,
          printing: Printing.t(),
          provisioned?: boolean(),
          start_timer: reference() | nil,
          cancels: %{optional(Pending.id()) => %{timer: reference(), begun?: boolean()}},
          rebalancing: %{optional(Pending.id()) => Slots.slot() | nil},
          pings: Pings.t(),
          heavy?: boolean(),
          flushes: %{optional(Pending.id()) => reference()},
          drain_until: integer() | nil,
          status: non_neg_integer() | nil,
          cause: Exit.cause() | nil,
          failed: binary() | nil
        }

  # How long the exit status may lag behind SIGKILL: for ever, if the kernel has the process in its hands.
  @killed_ms 2_000

  @spec new(Worker.start()) :: t()
  def new({handle, slot, generation}) do
    %__MODULE__{
      handle: handle,
      slot: slot,
      generation: generation,
      name: Handle.worker_name(handle, slot),
      launched: System.monotonic_time()
    }
  end

  @doc "Sends a message to Python. The body is a value, `:none` for no body."
  @spec tell(t(), :main | :control, byte(), non_neg_integer(), term()) :: term()
  def tell(state, channel, type, id, body \\ :none) do
    {bytes, buffers} = pack(body)
    head = Protocol.mark_buffers([Protocol.head(type, id) | bytes], buffers)
    send(state.writers[channel], {:tx, Frame.encode_message([head | buffers])})
  end

  defp pack(:none), do: {[], []}

  defp pack(body) do
    {:ok, bytes, buffers} = MessagePack.encode(body)
    {bytes, buffers}
  end

  @doc "Kills the OS process. The first cause counts; its exit status and the ends of its connections follow."
  @spec kill(t(), String.t(), :worker_exit | :protocol | :unstopped) :: t()
  def kill(state, did, kind \\ :worker_exit) do
    OSProcess.signal(state.os_pid, :kill)
    Process.send_after(self(), :killed_timeout, @killed_ms)
    %{state | cause: state.cause || {kind, did}}
  end

  @spec killed_ms() :: pos_integer()
  def killed_ms, do: @killed_ms

  @doc "Does the request count into this worker's window? Only its process takes one away and leaves it open."
  @spec here?(t(), Pending.id()) :: boolean()
  def here?(%{slot: slot, generation: generation} = state, id) do
    case Pending.lookup(state.handle, id) do
      row(place: ^slot, generation: ^generation) -> true
      _ended_or_elsewhere -> false
    end
  end

  @doc "What Python had begun."
  @spec begun(t()) :: Running.t()
  def begun(state), do: Running.read(state.running)
end
