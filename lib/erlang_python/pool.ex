defmodule ErlangPython.Pool do
  @moduledoc """
  A pool of Python workers, for a supervision tree of your own.

      children = [
        {ErlangPython.Pool, name: :ml, workers: 2, venv: ".venv", preload: ["numpy"]}
      ]

      {:ok, _pid} = Supervisor.start_link(children, strategy: :one_for_one)

      ErlangPython.call("numpy", "dot", [[1, 2], [3, 4]], pool: :ml)
      #=> {:ok, 11}

  A pool is ready when `start_link/1` returns: each worker has imported what `:preload` names. If
  a worker can't start, `start_link/1` returns `{:error, %ErlangPython.Error{}}`, with what Python
  printed.

  Pools can also stand in the application's configuration. Those start with their first use; so
  does the pool named `:default`, which needs no configuration at all.

      # config/config.exs
      import Config
      config :erlang_python, pools: [[name: :default, workers: 4], [name: :ml, venv: ".venv"]]

  A pool in a supervision tree has what the configuration says for its name, unless its own options say otherwise.
  Wrong options in the configuration are an `ArgumentError` when the application starts.

  [Pools](pools.md) goes through the options by what they are for.

  ## Options

    * `:name` (`t:atom/0`) - required.
    * `:workers` (`t:pos_integer/0`) - how many Python processes, at most 1024. The default is
      `System.schedulers_online()`.
    * `:max_overflow` (`t:non_neg_integer/0`) - how many extra workers may be started while all others are set aside for
      contexts (`ErlangPython.Context`, `ErlangPython.bind/1`). There is one that is not set aside as long as that allows; one that
      has not been needed for five seconds, and holds no context, stream or object, ends. Calls that queue start none. The default
      is 0.

  Which Python (each of these can also be set for all pools at once, by
  `config :erlang_python, python: "3.12"` and so on):

    * `:python` (`t:String.t/0` or `t:ErlangPython.Env.t/0`) - an interpreter's path, a name on `PATH`, or a
      version such as `"3.12"`. The default is `python3`, else `python`, on `PATH`. An environment is
      built before the first worker starts; in a configuration it is written as data, such as
      `{:requirements, ["numpy"]}` (`ErlangPython.Env`).
    * `:venv` (`t:Path.t/0`) - a virtual environment, whose interpreter is used, in the place of
      `:python`. A pool names one of the two.
    * `:env` (map or list of pairs) - environment variables beside those of the BEAM; `nil`
      removes one.
    * `:cd` (`t:Path.t/0`) - the working folder. The default is the BEAM's.
    * `:paths` (list of `t:Path.t/0`) - put at the front of `sys.path`. One that does not exist is a warning in the log.
    * `:preload` (list) - modules, by name, and `{:code, text}`, imported and executed in each
      worker before it is ready.

  Limits:

    * `:max_queue` (`t:non_neg_integer/0`) - how many requests may wait for a worker. One more
      fails at once with `:overloaded`. The default is `10_000`.
    * `:max_concurrent` (`t:pos_integer/0` or `:infinity`) - how many requests may be open at
      once, the waiting ones included. The default is `:infinity`.
    * `:max_message_size` (`t:pos_integer/0`) - in bytes, for a request and for a result. The
      default is 256 MiB.
    * `:window` (`:auto` or 1..256) - how many requests a worker may hold at a time. Requests sent
      ahead of their turn hide the way between two processes. `:auto` (default) allows as many as
      the worker has lately answered in two milliseconds, and one at a time for longer calls. A
      request that waits behind a longer one than expected is given to another worker.

  Health:

    * `:start_timeout` (`t:timeout/0`) - milliseconds for a worker to become ready. The
      default is `60_000`.
    * `:grace` (`t:pos_integer/0`) - milliseconds between the interrupt that stops Python code and
      the kill of a worker whose code does not stop. The default is `1_000`.
    * `:heartbeat` (`t:pos_integer/0` or `nil`) - how often, in milliseconds, a worker must
      answer; one that does not (C code that holds Python's global lock) is killed and its request
      ends with `:worker_exit`. The default is `nil`: the requests' own deadlines decide.
    * `:max_requests` (`t:pos_integer/0` or `:infinity`) - a worker is given as many at most and then
      replaced (a pool's first ones are given fewer, so that they don't end together), one with open contexts when the last of them closes. Only what no other could serve, such as calls out of its
      callbacks, comes beyond them. A stream counts as one. With 1 each request has a Python of its own. The default is `:infinity`.
    * `:max_memory` (`t:pos_integer/0` or `:infinity`) - a worker whose resident memory in bytes, which is looked at once a second, is
      more is replaced between two requests. The default is `:infinity`.
    * `:stdout` (`:caller`, `:logger` or `:ignore`) - where what Python prints goes. `:caller` (default): to the
      group leader of the process that made the request, before the reply. `:logger`: to the Logger, with the
      metadata `:pool`, `:worker` and `:os_pid`; so does, under `:caller`, what belongs to no request.
    * `:stdin` (`:none` or `:caller`) - what Python's `input()` does: raise `EOFError` (default), or ask the group
      leader of the process that made the request.
    * `:reload` (`:manual` or `:auto`) - whether workers look for changed source files before each request, and load their
      modules, and those that import them, anew: for development. Where one can't be loaded, the old code stays and the
      error is logged. Modules of installed packages are left alone. The default is `:manual` (`ErlangPython.reload/2`).
      It can be set for all pools too, as in `config/dev.exs`.
    * `:endpoint` (`:ipc` or `:tcp`) - a unix socket in a folder of the pool's own, or a port on
      127.0.0.1. The default is `:ipc`.
    * `:channel` (`:direct` or `:pyzmq`) - how Python speaks ZeroMQ: the worker's own ZMTP on its socket, or
      a DEALER of libzmq. The bytes are the same. `:direct` (default) answers sooner, starts faster and needs
      less memory, because no I/O thread stands between the socket and the code.
    * `:lazy` (`t:boolean/0`) - whether `start_link/1` returns without waiting for the workers.
      The default is `false`.

  ## Ends

  A worker that dies while it runs a request ends that request with `:worker_exit`, and with it
  those whose results had not left it yet. Requests that had been sent to it but had not begun are
  given to another worker, unseen by their callers. The worker is replaced at once. Starts that
  fail are repeated after 100 ms, then 200 ms, up to 30 s. While no worker is there and three
  starts in a row have failed (one, if the pool never had a worker), requests fail at once with
  the reason.

  When the BEAM ends, in whatever way, so do all Python processes.
  """

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.{Env, Error, Worker}

  alias ErlangPython.Pool.{
    Broadcast,
    Configured,
    Directory,
    Handle,
    Manager,
    NoPool,
    Options,
    Slots
  }

  alias ErlangPython.{MessagePack, Request, Timeout}
  alias ErlangPython.Request.Text

  @type option ::
          {:name, atom()}
          | {:workers, pos_integer()}
          | {:max_overflow | :max_queue, non_neg_integer()}
          | {:python, String.t() | Env.t() | {atom(), term()} | {atom(), term(), keyword()} | nil}
          | {:venv | :cd, String.t() | nil}
          | {:env, Enumerable.t()}
          | {:paths, [String.t()]}
          | {:preload, [atom() | String.t() | {:code, String.t()}]}
          | {:max_concurrent | :max_requests | :max_memory, pos_integer() | :infinity}
          | {:max_message_size | :grace, pos_integer()}
          | {:start_timeout, pos_integer() | :infinity}
          | {:heartbeat, pos_integer() | nil}
          | {:window, :auto | 1..256}
          | {:stdout, :caller | :logger | :ignore}
          | {:stdin, :none | :caller}
          | {:reload, :manual | :auto}
          | {:endpoint, :ipc | :tcp}
          | {:channel, :direct | :pyzmq}
          | {:lazy, boolean()}

  # How long a worker may take to say how much memory it has.
  @ping_ms 500

  @doc "A child specification; its id is `{ErlangPython.Pool, name}`."
  @spec child_spec([option()]) :: Supervisor.child_spec()
  def child_spec(options) do
    # Here, because a supervisor shows a mistake in the start function less plainly.
    Options.new!(Configured.complete(options))

    %{
      id: {__MODULE__, Keyword.get(options, :name)},
      start: {__MODULE__, :start_link, [options]},
      type: :supervisor
    }
  end

  @doc """
  Starts a pool, linked to the caller. Raises `ArgumentError` for a wrong option.
  """
  @spec start_link([option()]) :: Supervisor.on_start() | {:error, Error.t()}
  def start_link(options) do
    options = Options.new!(Configured.complete(options))

    with :ok <- Configured.check_application(options.name),
         {:ok, pid} <- ErlangPython.Pool.Supervisor.start_link(options) do
      if options.lazy, do: {:ok, pid}, else: await_ready(pid, options.name)
    else
      {:error, reason} -> {:error, NoPool.start_error(reason)}
    end
  end

  defp await_ready(pid, name) do
    {:ok, handle} = Handle.fetch(name)

    with {:error, error} <- Manager.await_ready(handle) do
      Process.unlink(pid)
      end_supervisor(pid, :shutdown)
      {:error, error}
    else
      :ok -> {:ok, pid}
    end
  end

  @doc """
  Numbers of the pool: `:workers` (how many there should be, extra ones of `:max_overflow` included), each of which is `:starting`, `:idle`, `:busy`,
  `:in_callback` (its main thread waits for Elixir) or `:bound` (set aside for a context),
  `:queued` (requests that wait for a worker) and `:in_flight` (requests that workers hold).

  Counted without asking any process, so the numbers may be a moment apart. Raises `ErlangPython.Error` if there is no such pool.
  """
  @spec stats(atom()) :: %{atom() => non_neg_integer()}
  def stats(pool) do
    handle = fetch!(pool)
    slots = for slot <- 1..Slots.count(handle)//1, do: slot_state(handle, slot)
    count = fn state -> Enum.count(slots, fn {is, _in_flight} -> is == state end) end

    %{
      workers: length(slots),
      starting: count.(:starting),
      idle: count.(:idle),
      busy: count.(:busy),
      in_callback: count.(:in_callback),
      bound: count.(:bound),
      queued: max(Slots.queued(handle), 0),
      in_flight: Enum.sum(for {_state, in_flight} <- slots, do: max(in_flight, 0))
    }
  end

  defp slot_state(handle, slot) do
    in_flight = Slots.in_flight(handle, slot) + Slots.beside(handle, slot)

    state =
      cond do
        Slots.set_aside?(handle, slot) -> :bound
        in_flight > 0 and Slots.callbacks(handle, slot) > 0 -> :in_callback
        in_flight > 0 -> :busy
        Slots.window(handle, slot) == 0 -> :starting
        true -> :idle
      end

    {state, in_flight}
  end

  @doc """
  The workers: maps with `:id`, `:os_pid` (`nil` while it starts), `:state` (as in `stats/1`, and `:draining` for one that ends when
  it has ended what it has), `:requests` (served so far) and `:memory` (resident, in bytes; `nil` if
  the worker did not say so within half a second). Raises `ErlangPython.Error` if there is no such pool.
  """
  @spec workers(atom()) :: [map()]
  def workers(pool) do
    handle = fetch!(pool)

    case Manager.slots(handle) do
      {:ok, slots} ->
        slots
        |> Task.async_stream(&describe(handle, &1), max_concurrency: 64, timeout: :infinity)
        |> Enum.map(fn {:ok, worker} -> worker end)

      {:error, error} ->
        raise error
    end
  end

  defp describe(handle, entry) do
    pong = if entry.phase == :ready, do: Worker.ping(entry.worker, @ping_ms)

    %{
      id: entry.slot,
      os_pid: entry.os_pid,
      state: worker_state(handle, entry),
      requests: Slots.served(handle, entry.slot),
      memory: pong["rss"]
    }
  end

  defp worker_state(handle, %{phase: :ready, slot: slot}) do
    case slot_state(handle, slot) do
      # It has served as many as it may.
      {:starting, 0} -> :draining
      {state, _in_flight} -> state
    end
  end

  defp worker_state(_handle, %{phase: phase}) when phase in [:draining, :closing], do: :draining
  defp worker_state(_handle, _not_ready), do: :starting

  @typedoc "What `broadcast/3` runs in each worker."
  @type request ::
          {:call, module :: atom() | String.t(), function :: atom() | String.t(), args :: list()}
          | {:exec, code :: String.t()}
          | {:eval, code :: String.t()}

  @doc """
  Runs a request in every worker: `{:ok, results}`, a map from each worker's `:id` to `{:ok, value}` or `{:error,
  error}`. The value of `:exec` is `nil`.

      ErlangPython.Pool.broadcast(:ml, {:exec, "import torch; torch.set_num_threads(1)"}, replay: true)
      #=> {:ok, %{1 => {:ok, nil}, 2 => {:ok, nil}}}

  Each worker runs it between two requests of its main thread, so one that is busy does when it has finished, also one
  that waits in a callback. (A broadcast out of a callback runs within the request that waits for this callback, in
  that one worker.) Workers that are starting are waited for.

  `{:error, error}` says that no worker was asked: the request can't be encoded, no worker can start, or there is no such pool. With
  `executed: :maybe` the pool has ended, or a part of it has crashed, under the broadcast.

  ## Options

    * `:timeout` (`t:timeout/0`) - for each worker. One that is busy for longer has the error `:timeout`, and never runs
      the request. The default is `30_000`.
    * `:kwargs` - of a `:call`, as in `ErlangPython.call/4`.
    * `:replay` (`true`, or a name: any term) - whether workers that start later run it too, before they are ready and in the order of
      the broadcasts. It is kept if it raised in no worker, until the pool ends. A later broadcast of the same name takes its
      place; with `true` each is kept. As with `:preload`, a worker in which it raises does not start. The default is
      `false`.
  """
  @spec broadcast(atom(), request(), keyword()) ::
          {:ok, %{pos_integer() => {:ok, term()} | {:error, Error.t()}}} | {:error, Error.t()}
  def broadcast(pool, request, opts \\ []) do
    message = message(request)
    {replay, options} = split_replay(opts)
    options = Request.Options.new!(options, known(message))
    with {:ok, handle} <- fetch(pool), do: Broadcast.run(handle, message, options, later(replay))
  end

  # Code has no keyword arguments.
  defp known({:call, _module, _function, _args}), do: [:timeout, :kwargs]
  defp known(_code), do: [:timeout]

  defp split_replay(opts) do
    if Keyword.keyword?(opts),
      do: Keyword.pop(opts, :replay, false),
      else: raise(ArgumentError, "expected options to be a keyword list, got: #{inspect(opts)}")
  end

  defp later(no) when no in [false, nil], do: :none
  defp later(true), do: {:replay, make_ref()}
  defp later(name), do: {:replay, name}

  defp message({:call, module, function, args}) when is_list(args),
    do: {:call, Text.name!(:module, module), Text.name!(:function, function), args}

  defp message({kind, code}) when kind in [:exec, :eval], do: {kind, Text.code!(code), nil}

  defp message(other) do
    raise ArgumentError,
          "expected {:call, module, function, args}, {:exec, code} or {:eval, code}, got: " <>
            inspect(other)
  end

  @typedoc "A thread of a worker; its frames as in `ErlangPython.Error`, the outermost first."
  @type stack :: %{
          id: pos_integer(),
          name: String.t() | nil,
          main: boolean(),
          frames: [Error.frame()]
        }

  @doc """
  What each Python thread of a worker does right now, also of one that is busy: the main thread, which runs the requests, first.

      ErlangPython.Pool.stacks(:ml, 1)
      #=> {:ok, [%{id: 139_955_203, name: "MainThread", main: true, frames: [%{file: "shop.py", line: 7, ...}]}]}

  A thread that waits for a request, and runs no code of yours, has no frames. The worker `id` is that of `workers/1`.
  `{:error, error}` is `:timeout` if the worker does not answer within `timeout` milliseconds, because C code holds Python's
  global lock, `:no_workers` if there is no such worker, or it is just starting, and `:no_pool` if there is no such pool.
  """
  @spec stacks(atom(), pos_integer(), timeout()) :: {:ok, [stack()]} | {:error, Error.t()}
  def stacks(pool, worker, timeout \\ 5_000) do
    wait = Timeout.check!(timeout)

    with {:ok, pid} <- fetch_worker(pool, worker) do
      case Worker.stacks(pid, wait) do
        nil -> {:error, silent(pool, worker, timeout)}
        body -> {:ok, decode_stacks(body)}
      end
    end
  end

  defp decode_stacks(body) do
    {:ok, threads} = MessagePack.decode(body)

    for [id, name, main?, frames] <- threads,
        do: %{id: id, name: name, main: main?, frames: Enum.map(frames, &frame/1)}
  end

  defp frame([file, line, function, code]),
    do: %{file: file, line: line, function: function, code: code}

  defp silent(pool, worker, timeout) do
    %Error{
      kind: :timeout,
      message:
        "worker #{worker} of the pool #{inspect(pool)} has not answered within #{timeout} ms",
      executed: :no,
      details: %{timeout: timeout}
    }
  end

  @doc """
  Interrupts what the main thread of a worker runs, whoever called it: that caller has an error of kind `:cancelled`. Code that catches
  the `KeyboardInterrupt` and goes on to its end has not been stopped, and its caller has the result. Code that does not end within
  the pool's `:grace` is ended with its worker, and its caller has `:worker_exit`.

  `:idle` says that it runs nothing. Coroutines on the worker's event loop go on. `{:error, error}` as for `stacks/3`.
  """
  @spec interrupt(atom(), pos_integer()) :: :ok | :idle | {:error, Error.t()}
  def interrupt(pool, worker) do
    with {:ok, pid} <- fetch_worker(pool, worker),
         do: Worker.interrupt(pid) || {:error, no_worker(pool, worker)}
  end

  defp fetch_worker(pool, worker) when is_integer(worker) and worker > 0 do
    with {:ok, handle} <- fetch(pool) do
      case Directory.worker(handle, worker) do
        {_generation, pid, _writer} -> {:ok, pid}
        nil -> {:error, no_worker(pool, worker)}
      end
    end
  end

  defp fetch_worker(_pool, worker),
    do: raise(ArgumentError, "expected the :id of a worker, got: #{inspect(worker)}")

  defp no_worker(pool, worker) do
    %Error{
      kind: :no_workers,
      message: "the pool #{inspect(pool)} has no worker #{worker} that is ready",
      executed: :no,
      details: %{worker: worker}
    }
  end

  @doc """
  Changes the number of workers. Returns when new ones are ready; superfluous ones end after the
  requests that they have. `{:error, error}` if a new one can't start, or there is no such pool.
  """
  @spec scale(atom(), pos_integer()) :: :ok | {:error, Error.t()}
  def scale(pool, workers) do
    Options.check_workers!(workers)
    with {:ok, handle} <- fetch(pool), do: Manager.scale(handle, workers)
  end

  @doc """
  Replaces all workers, one after another, each between two requests: no request is lost, and the
  others go on serving. Where one needs more than 30 seconds to end what it has, the next has its turn
  meanwhile. Returns when the last is ready; if a new one can't start, the answer is that error, and
  the rest stay as they are. Where no worker is ready, this waits for the starts that are under way, or for the next ones.

  A function that Python calls out of this pool would wait for its own request, so there it raises
  `ArgumentError`; start a process for it.
  """
  @spec restart(atom()) :: :ok | {:error, Error.t()}
  def restart(pool) do
    with {:ok, handle} <- fetch(pool) do
      refuse_in_callback!(handle, "restart/1")
      Manager.restart(handle)
    end
  end

  @doc """
  Stops a pool: new requests fail with `:no_pool`, open ones may end within `timeout`
  milliseconds. Returns when the pool has ended; raises `ErlangPython.Error` if there is no such pool. A stop that has begun goes
  on if its caller is killed.

  A pool that stands in a supervision tree is started again by its supervisor, as any child would
  be; a configured one by its next use.

  A function that Python calls out of this pool would wait for its own request, so there it raises
  `ArgumentError` unless it has a `timeout`; start a process for it.
  """
  @spec stop(atom(), timeout()) :: :ok
  def stop(pool, timeout \\ :infinity) do
    # Before anything is closed.
    timeout = Timeout.check!(timeout)
    handle = fetch!(pool)
    if timeout == :infinity, do: refuse_in_callback!(handle, "stop/1")
    supervisor = ErlangPython.Pool.Supervisor.whereis(pool)

    # Not here: a caller that is killed while it waits would leave a pool that is closed, and stays.
    {:ok, stopper} =
      Task.Supervisor.start_child(ErlangPython.Casts, fn ->
        Slots.close(handle)
        Manager.await_empty(handle, timeout)
        if supervisor, do: end_supervisor(supervisor, :normal)
      end)

    case await_end(Process.monitor(stopper)) do
      reason when reason in [:normal, :noproc] -> :ok
      crash -> exit(crash)
    end
  end

  # Somebody else may be faster; it has ended in any case.
  defp end_supervisor(pid, reason) do
    ref = Process.monitor(pid)

    try do
      Supervisor.stop(pid, reason)
    catch
      :exit, _it_ends_already -> :ok
    end

    await_end(ref)
  end

  defp await_end(ref) do
    receive do
      {:DOWN, ^ref, :process, _pid, reason} -> reason
    end
  end

  # A task that a callback starts is not refused: nobody need wait for it.
  defp refuse_in_callback!(handle, function) do
    if Origin.own(handle) do
      raise ArgumentError,
            "ErlangPython.Pool.#{function} waits until the requests of #{inspect(handle.name)} have ended, and this " <>
              "function is called by one of them: start a process for it, as with Task.start/1"
    end
  end

  defp fetch!(pool) do
    case fetch(pool) do
      {:ok, handle} -> handle
      {:error, error} -> raise error
    end
  end

  defp fetch(pool) when is_atom(pool) and not is_nil(pool), do: Configured.fetch(pool)

  defp fetch(other),
    do: raise(ArgumentError, "expected the name of a pool, an atom, got: #{inspect(other)}")
end
