defmodule ErlangPython.ErlPort.Instance do
  @moduledoc false
  # One ErlPort instance: a pool of one worker, and the process that owns it.
  #
  # Calls are requests of their callers, so they may nest. What goes through here keeps its order:
  #
  #   * a caller first asks this process for the pool, so what it has sent here before is on its way to Python;
  #   * messages to the handler are requests of this process, which waits for none of them;
  #   * messages from Python come here with the tag, and go on to whom they are for. Who must not overtake them
  #     asks this process for nothing (`sync/1`).
  #
  # It ends when its Python process does, or the message handler raises.

  use GenServer, restart: :temporary

  alias ErlangPython.ErlPort.Terms
  alias ErlangPython.{Error, Pool, Request}
  alias ErlangPython.Pool.{Directory, Handle, Intake, Slots}
  alias ErlangPython.Pool.Intake.Stuck
  alias ErlangPython.Request.{Message, Reply}

  require Logger

  # How long a message waits before somebody looks whether Python, in a callback, waits for its effect; twice as
  # long each time. As for callers (`Request`).
  @patience_ms 25
  @longest_patience_ms 1_000

  @doc "The process of an instance, its pool and its default timeout."
  @spec place(GenServer.server()) :: {pid(), atom(), timeout()}
  def place(instance) do
    pid = GenServer.whereis(instance)

    if is_pid(pid) and node(pid) != node() do
      raise ArgumentError,
            "the instance is on the node #{node(pid)}: call it there (:erpc.call/4)"
    end

    GenServer.call(pid || instance, {__MODULE__, :place}, :infinity)
  end

  @doc "Returns when what Python has sent so far is delivered."
  @spec sync(GenServer.server()) :: :ok
  def sync(instance) do
    GenServer.call(instance, {__MODULE__, :sync}, :infinity)
  catch
    # It has ended, and will deliver nothing more.
    :exit, _reason -> :ok
  end

  @doc "Gives a packed message to the message handler."
  @spec deliver(GenServer.server(), [ErlangPython.Bytes.t()]) :: :ok
  def deliver(instance, parts), do: GenServer.cast(instance, {__MODULE__, :deliver, parts})

  @impl true
  def init(%{pool: pool_options, call_timeout: call_timeout}) do
    Process.flag(:trap_exit, true)

    with {:ok, supervisor, pool} <- start_pool(pool_options, 1),
         {:ok, handle} <- Handle.fetch(pool),
         state = state(supervisor, handle, call_timeout),
         {:ok, nil} <- connect(state),
         {_generation, worker, _writer} <- Directory.worker(handle, 1) do
      Process.monitor(worker)
      {:ok, state}
    else
      {:error, reason} -> {:stop, reason}
      _ended_already -> {:stop, :python_exited}
    end
  end

  # Names are atoms, so those of instances that have ended are used again.
  defp start_pool(options, number) do
    name = :"erlang_python_erlport_#{number}"

    case Pool.start_link([name: name] ++ options) do
      {:ok, supervisor} -> {:ok, supervisor, name}
      {:error, {:already_started, _pid}} -> start_pool(options, number + 1)
      {:error, reason} -> {:error, reason}
    end
  end

  defp state(supervisor, handle, call_timeout) do
    %{
      supervisor: supervisor,
      handle: handle,
      call_timeout: call_timeout,
      # Nobody else can make messages with it.
      tag: make_ref(),
      # The requests of messages that the handler has not had yet.
      deliveries: MapSet.new(),
      patience: nil
    }
  end

  # Only the workers of instances get this function: they may call any other with it.
  defp connect(%{tag: tag, handle: handle}) do
    instance = self()
    perform = fn body -> perform(instance, body) end
    timeout = handle.options.start_timeout

    ErlangPython.call("erlport._instance", "connect", [perform, instance, tag],
      pool: handle.name,
      timeout: timeout
    )
  end

  # In the process of a callback.
  defp perform(instance, body) do
    sync(instance)

    case Terms.unpack!(body) do
      [module, function, args] when is_atom(module) and is_atom(function) and is_list(args) ->
        module |> apply(function, args) |> Terms.pack!()

      [module, function, args] ->
        raise ArgumentError,
              "there is no function #{module}:#{function}/#{length(args)}, as there is no such atom"
    end
  end

  @impl true
  def handle_call({__MODULE__, :place}, _from, state),
    do: {:reply, {self(), state.handle.name, state.call_timeout}, state}

  def handle_call({__MODULE__, :sync}, _from, state), do: {:reply, :ok, state}

  @impl true
  def handle_cast({__MODULE__, :deliver, parts}, state), do: submit(parts, state)

  @impl true
  def handle_info({{tag, id}, reply}, %{tag: tag} = state) do
    state = %{state | deliveries: MapSet.delete(state.deliveries, id)}

    case Reply.read(reply, :elixir) do
      {:ok, nil} -> {:noreply, state}
      {:error, error} -> {:stop, {:message_handler_error, Terms.failure(error)}, state}
    end
  end

  def handle_info({tag, :reconsider}, %{tag: tag} = state) do
    Enum.each(state.deliveries, &Stuck.reconsider(state.handle, &1))
    patience = min(2 * state.patience, @longest_patience_ms)
    {:noreply, wait(%{state | patience: nil}, patience)}
  end

  def handle_info({tag, body}, %{tag: tag} = state) do
    forward(Terms.unpack!(body))
    {:noreply, state}
  end

  # The worker, the only process that is monitored here.
  def handle_info({:DOWN, _ref, :process, _worker, reason}, state),
    do: {:stop, {:python_exited, ended(reason)}, state}

  def handle_info({:EXIT, supervisor, reason}, %{supervisor: supervisor} = state),
    do: {:stop, {:python_exited, reason}, state}

  # As if exits were not trapped, which only the pool needs.
  def handle_info({:EXIT, _linked, :normal}, state), do: {:noreply, state}
  def handle_info({:EXIT, _linked, reason}, state), do: {:stop, reason, state}

  def handle_info(message, state) do
    submit(Terms.pack!(message), state)
  rescue
    error in Error ->
      Logger.error("a message to an ErlPort instance is dropped: " <> Exception.message(error))
      {:noreply, state}
  end

  defp ended({:shutdown, {:exited, exit, _running}}), do: Map.take(exit, [:status, :output])
  defp ended(reason), do: reason

  defp submit(parts, %{handle: handle} = state) do
    id = Slots.next_id(handle)
    options = %Request.Options{pool: handle.name, timeout: :infinity}
    message = {:call, "erlport._instance", "deliver", parts}

    with {:ok, wire} <- Message.encode(message, id, options, handle.options.max_message_size),
         {:ok, _place} <- Intake.submit(handle, request(state, id, wire), nil) do
      {:noreply, wait(%{state | deliveries: MapSet.put(state.deliveries, id)}, @patience_ms)}
    else
      {:error, error} -> {:stop, {:message_handler_error, error}, state}
    end
  end

  defp request(%{tag: tag}, id, wire) do
    %{
      id: id,
      wire: wire,
      dest: self(),
      tag: {tag, id},
      caller: self(),
      deadline: :infinity
    }
  end

  defp wait(%{patience: nil} = state, patience) do
    if MapSet.size(state.deliveries) == 0 do
      state
    else
      Process.send_after(self(), {state.tag, :reconsider}, patience)
      %{state | patience: patience}
    end
  end

  defp wait(state, _patience), do: state

  defp forward({destination, message}) do
    send(destination, message)
  rescue
    ArgumentError ->
      Logger.error("Python sent a message to #{inspect(destination)}, where nobody is registered")
  end

  @impl true
  def terminate(_reason, state) do
    Supervisor.stop(state.supervisor)
  catch
    # It has ended already.
    :exit, _reason -> :ok
  end
end
