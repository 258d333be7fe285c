defmodule :py_semaphore do
  @moduledoc """
  A counting semaphore for Erlang code that bounds its own use of Python, as in the `erlang_python` 1.x API.

      1> py_semaphore:acquire(5000).
      ok
      2> py_semaphore:release().
      ok

  Calls do not take it by themselves: a pool bounds its requests with `:max_concurrent`, where nested calls can't
  deadlock. What a process has acquired is released when it ends.

  A function that Python calls is let in over the limit: whoever waits for Python may hold one, and would wait for ever
  if the function it waits for had to wait for that.

  The limit is the application environment's `max_concurrent`, by default twice the number of schedulers plus one.

  All functions raise `ErlangPython.Error` while the application is not running.
  """

  use GenServer

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.Pool.Configured
  alias ErlangPython.{Settings, Timeout}

  @doc false
  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Takes one, waiting for it for at most so many milliseconds (0: not at all), or `infinity`."
  @spec acquire(timeout()) :: :ok | {:error, :max_concurrent | :invalid_args}
  def acquire(timeout) when timeout == :infinity or (is_integer(timeout) and timeout >= 0) do
    ask({:acquire, Timeout.receivable(timeout), Origin.any?()})
  end

  def acquire(_timeout), do: {:error, :invalid_args}

  @doc "Gives back what the calling process acquired; nothing if it has none."
  @spec release() :: :ok
  def release, do: ask(:release)

  @doc "How many are taken."
  @spec current() :: non_neg_integer()
  def current, do: ask(:current)

  @doc "How many there are."
  @spec max_concurrent() :: pos_integer()
  def max_concurrent, do: ask(:max_concurrent)

  @doc "Changes how many there are; those taken beyond a smaller limit stay taken."
  @spec set_max_concurrent(pos_integer()) :: :ok | {:error, :invalid_args}
  def set_max_concurrent(max) when is_integer(max) and max > 0,
    do: ask({:set_max_concurrent, max})

  def set_max_concurrent(_max), do: {:error, :invalid_args}

  defp ask(request) do
    Configured.check_application!()
    GenServer.call(__MODULE__, request, :infinity)
  end

  # `held`: {owner, its monitor}, one for each that is taken; `waiting`: oldest first.
  @impl true
  def init(nil) do
    {:ok, max} =
      with :error <- Settings.max_concurrent!(),
           do: {:ok, 2 * System.schedulers_online() + 1}

    {:ok, %{max: max, held: [], waiting: :queue.new()}}
  end

  @impl true
  def handle_call({:acquire, timeout, nested?}, {pid, _tag} = from, state) do
    monitor = Process.monitor(pid)

    cond do
      nested? or length(state.held) < state.max ->
        {:reply, :ok, %{state | held: [{pid, monitor} | state.held]}}

      timeout == 0 ->
        Process.demonitor(monitor, [:flush])
        {:reply, {:error, :max_concurrent}, state}

      true ->
        if timeout != :infinity, do: Process.send_after(self(), {:expired, monitor}, timeout)
        {:noreply, %{state | waiting: :queue.in({pid, monitor, from}, state.waiting)}}
    end
  end

  def handle_call(:release, {pid, _tag}, state) do
    case List.keytake(state.held, pid, 0) do
      {{_pid, monitor}, held} ->
        Process.demonitor(monitor, [:flush])
        {:reply, :ok, serve(%{state | held: held})}

      nil ->
        {:reply, :ok, state}
    end
  end

  def handle_call(:current, _from, state), do: {:reply, length(state.held), state}
  def handle_call(:max_concurrent, _from, state), do: {:reply, state.max, state}

  def handle_call({:set_max_concurrent, max}, _from, state),
    do: {:reply, :ok, serve(%{state | max: max})}

  @impl true
  def handle_info({:DOWN, monitor, :process, _pid, _reason}, state),
    do: {:noreply, serve(forget(state, monitor))}

  def handle_info({:expired, monitor}, state) do
    case Enum.find(:queue.to_list(state.waiting), &(elem(&1, 1) == monitor)) do
      {_pid, _monitor, from} ->
        Process.demonitor(monitor, [:flush])
        GenServer.reply(from, {:error, :max_concurrent})
        {:noreply, forget(state, monitor)}

      nil ->
        {:noreply, state}
    end
  end

  defp forget(state, monitor) do
    %{
      state
      | held: List.keydelete(state.held, monitor, 1),
        waiting: :queue.filter(&(elem(&1, 1) != monitor), state.waiting)
    }
  end

  defp serve(state) do
    with true <- length(state.held) < state.max,
         {{:value, {pid, monitor, from}}, waiting} <- :queue.out(state.waiting) do
      GenServer.reply(from, :ok)
      serve(%{state | held: [{pid, monitor} | state.held], waiting: waiting})
    else
      _full_or_nobody -> state
    end
  end
end
