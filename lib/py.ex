defmodule :py do
  @moduledoc ~S"""
  Python for Erlang: the names and shapes of the `erlang_python` 1.x API, over the same engine as
  `ErlangPython`.

      1> py:call(math, sqrt, [16]).
      {ok, 4.0}
      2> py:eval(<<"x * 2">>, #{x => 21}).
      {ok, 42}
      3> py:call(operator, truediv, [1, 0]).
      {error, {'ZeroDivisionError', "division by zero"}}

  Names are atoms, binaries or charlists, code is a binary or a charlist, keyword arguments and
  variables are a map or a proplist. A timeout is a positive integer (milliseconds) or `infinity`;
  the default is 30 000. Requests go to the pool `default`.

  Every function gives `{ok, Term}` or `{error, Reason}`, `exec` gives a bare `ok`. Nothing raises
  for a Python error. See `t:reason/0`.
  """

  alias ErlangPython.ErlangFace.{
    Answers,
    Calls,
    Contexts,
    Executors,
    Functions,
    Gather,
    Logging,
    Memory,
    Reload,
    States,
    Streams,
    Traces,
    Venv
  }

  alias ErlangPython.Context
  alias ErlangPython.Context.Binding
  alias ErlangPython.State
  alias ErlangPython.Telemetry

  @type name :: atom() | binary() | charlist()
  @typedoc "A binary or a charlist, also one of several parts."
  @type code :: :unicode.chardata()
  @type args :: [term()]
  @type names :: %{optional(name()) => term()} | [{name(), term()}]

  @typedoc """
  Why a request failed.

    * `{Type, Message}`: Python raised. `Type` is the class name without its module, as an atom
      (as a binary once very many different ones have been seen), `Message` a list of code points. For a module that was
      not found it also says which Python has looked;
    * `{stop_iteration, none}`: a `StopIteration` that escaped;
    * `timeout`;
    * `cancelled`: `interrupt/1` has stopped it, or the stream was closed before its end;
    * `{overloaded, Current, Max}`: the pool's queue or its limit is full;
    * `no_workers_available`: no Python could be started; the log says why;
    * `{worker_down, Why}`: the Python process ended under the request;
    * `context_lost`: the worker of a context, or of the bound process, has ended;
    * `context_not_bound`: the context of the bound process was released by `unbind/1`;
    * `{invalid_venv, Path}`: there is no virtual environment of this version of Python;
    * `{encode, Text}`, `{decode, Text}`: a term or value that has no counterpart, or is too
      large;
    * `invalid_args`: the call itself makes no sense.
  """
  @type reason ::
          {atom() | binary(), charlist()}
          | {:stop_iteration, :none}
          | :timeout
          | :cancelled
          | {:overloaded, non_neg_integer(), non_neg_integer()}
          | :no_workers_available
          | {:worker_down, binary()}
          | :context_lost
          | :context_not_bound
          | {:invalid_venv, name()}
          | {:encode | :decode, binary()}
          | :invalid_args

  @type result :: {:ok, term()} | {:error, reason()}

  @doc "Calls a function of a Python module."
  @spec call(name(), name(), args()) :: result()
  def call(module, function, args), do: Calls.call(module, function, args)

  @doc "With keyword arguments."
  @spec call(name(), name(), args(), names()) :: result()
  def call(module, function, args, kwargs), do: Calls.call(module, function, args, kwargs)

  @doc "With keyword arguments and a timeout."
  @spec call(name(), name(), args(), names(), timeout()) :: result()
  def call(module, function, args, kwargs, timeout),
    do: Calls.call(module, function, args, kwargs, timeout)

  @doc "Evaluates an expression."
  @spec eval(code()) :: result()
  def eval(code), do: Calls.eval(code)

  @doc "With variables, seen by this evaluation only."
  @spec eval(code(), names()) :: result()
  def eval(code, locals), do: Calls.eval(code, locals)

  @doc "With variables and a timeout."
  @spec eval(code(), names(), timeout()) :: result()
  def eval(code, locals, timeout), do: Calls.eval(code, locals, timeout)

  @doc "Executes statements, in the namespace of the worker that takes them."
  @spec exec(code()) :: :ok | {:error, reason()}
  def exec(code), do: Calls.exec(code)

  @doc "With a timeout."
  @spec exec(code(), timeout()) :: :ok | {:error, reason()}
  def exec(code, timeout), do: Calls.exec(code, timeout)

  @doc "Calls a function and forgets; a failure is logged."
  @spec cast(name(), name(), args()) :: :ok | {:error, :invalid_args}
  def cast(module, function, args), do: Calls.cast(module, function, args)

  @doc "With keyword arguments."
  @spec cast(name(), name(), args(), names()) :: :ok | {:error, :invalid_args}
  def cast(module, function, args, kwargs), do: Calls.cast(module, function, args, kwargs)

  @doc "Starts a call; `await/1` fetches its result."
  @spec call_async(name(), name(), args()) :: reference()
  def call_async(module, function, args), do: Answers.start(module, function, args)

  @doc "With keyword arguments."
  @spec call_async(name(), name(), args(), names()) :: reference()
  def call_async(module, function, args, kwargs),
    do: Answers.start(module, function, args, kwargs)

  @doc "Waits for the result of `call_async`, 30 seconds at most."
  @spec await(reference()) :: result()
  def await(ref), do: Answers.await(ref)

  @doc """
  With a timeout. After `{error, timeout}` the call goes on and can be awaited again. A
  result can be fetched once, by any process; no message is ever left in a mailbox.
  """
  @spec await(reference(), timeout()) :: result()
  def await(ref, timeout), do: Answers.await(ref, timeout)

  @doc "Calls a function and gives all that it yields. A value that is no iterator is the only item."
  @spec stream(name(), name(), args()) :: {:ok, [term()]} | {:error, reason()}
  def stream(module, function, args), do: stream(module, function, args, %{})

  @doc "With keyword arguments. Each further item is waited for at most 30 seconds."
  @spec stream(name(), name(), args(), names()) :: {:ok, [term()]} | {:error, reason()}
  def stream(module, function, args, kwargs),
    do: Streams.collect(Calls.stream_message(module, function, args, kwargs))

  @doc "As `stream/3`, for the value of an expression."
  @spec stream_eval(code()) :: {:ok, [term()]} | {:error, reason()}
  def stream_eval(code), do: stream_eval(code, %{})

  @doc "With variables, seen by this evaluation only."
  @spec stream_eval(code(), names()) :: {:ok, [term()]} | {:error, reason()}
  def stream_eval(code, locals), do: Streams.collect(Calls.stream_eval_message(code, locals))

  @doc """
  Starts a stream whose items come as messages to the calling process: `{py_stream, Ref, {data, Value}}` for
  each, then `{py_stream, Ref, done}` or `{py_stream, Ref, {error, Reason}}`.

  They come as fast as Python makes them, whether they are read or not. The stream closes when the calling
  process ends.
  """
  @spec stream_start(name(), name(), args()) :: {:ok, reference()} | {:error, :invalid_args}
  def stream_start(module, function, args), do: Streams.start(module, function, args, %{})

  @doc "With keyword arguments."
  @spec stream_start(name(), name(), args(), names()) ::
          {:ok, reference()} | {:error, :invalid_args}
  def stream_start(module, function, args, kwargs),
    do: Streams.start(module, function, args, kwargs)

  @doc """
  Stops a stream of `stream_start/3`, and closes its generator. No further message is sent once this has
  returned. `ok` too if it has ended already.
  """
  @spec stream_cancel(reference()) :: :ok | {:error, :invalid_args}
  def stream_cancel(ref), do: Streams.cancel(ref)

  @doc """
  The next item of a generator that `call/3` or `eval/1` has returned, waiting for it at most 30 seconds:
  `{ok, Value}`, `done` after the last one, `{error, Reason}` where the generator raised.

      1> {ok, Lines} = py:eval(<<"(n * n for n in range(2))">>).
      2> py:stream_next(Lines).
      {ok, 0}

  Any process may read. The stream closes when the process that made the call ends: after that, and after a timeout, `{error,
  cancelled}`.
  """
  @spec stream_next(Streams.handle()) :: {:ok, term()} | :done | {:error, reason()}
  def stream_next(stream), do: Streams.next(stream)

  @doc "With a timeout, which closes the stream when it has passed."
  @spec stream_next(Streams.handle(), timeout()) :: {:ok, term()} | :done | {:error, reason()}
  def stream_next(stream, timeout), do: Streams.next(stream, timeout)

  @doc "Closes a generator that `call/3` or `eval/1` has returned: its `finally` has run. May be repeated."
  @spec stream_close(Streams.handle()) :: :ok | {:error, reason()}
  def stream_close(stream), do: Streams.close(stream)

  @doc """
  Starts a coroutine function on a worker's event loop, where thousands run at once; `async_await/1` fetches its
  result. Other functions are taken too.
  """
  @spec async_call(name(), name(), args()) :: reference()
  def async_call(module, function, args), do: Answers.start(module, function, args)

  @doc "With keyword arguments."
  @spec async_call(name(), name(), args(), names()) :: reference()
  def async_call(module, function, args, kwargs),
    do: Answers.start(module, function, args, kwargs)

  @doc "Waits for the result of `async_call`, 30 seconds at most; as `await/1`."
  @spec async_await(reference()) :: result()
  def async_await(ref), do: Answers.await(ref)

  @doc "With a timeout; as `await/2`."
  @spec async_await(reference(), timeout()) :: result()
  def async_await(ref, timeout), do: Answers.await(ref, timeout)

  @doc """
  Runs many calls at once, `{Module, Function, Args}` or `{Module, Function, Args, Kwargs}`, and gives their results in
  order: `{ok, Results}`, or the error of the first that failed, whereupon the others are stopped. All of them are handed to the pool
  together, so more of them than its `max_concurrent`, or its workers and its `max_queue`, are an `overloaded` error.
  """
  @spec async_gather([{name(), name(), args()} | {name(), name(), args(), names()}]) ::
          {:ok, [term()]} | {:error, reason()}
  def async_gather(calls), do: Gather.run(calls)

  @doc "As `stream/3`; for asynchronous generators too, as that is."
  @spec async_stream(name(), name(), args()) :: {:ok, [term()]} | {:error, reason()}
  def async_stream(module, function, args), do: stream(module, function, args)

  @doc "With keyword arguments."
  @spec async_stream(name(), name(), args(), names()) :: {:ok, [term()]} | {:error, reason()}
  def async_stream(module, function, args, kwargs), do: stream(module, function, args, kwargs)

  @doc """
  Binds the calling process to a worker of its own, where its calls, streams and asynchronous calls go from now on and
  names stay. `ok` also if it is bound already. The end of the process ends the binding.

  If the worker dies, all that the process runs is `{error, context_lost}` until it unbinds.
  """
  @spec bind() :: :ok | {:error, reason()}
  def bind, do: Contexts.bind()

  @doc "`bind(new)` sets a worker aside without binding the process: for `ctx_call/4` and its kin, and `unbind/1`."
  @spec bind(:new) :: {:ok, Context.t()} | {:error, reason()}
  def bind(:new), do: Contexts.open()
  def bind(_other), do: {:error, :invalid_args}

  @doc "Ends what `bind/0` began: the names are gone, the worker is free."
  @spec unbind() :: :ok
  def unbind, do: Binding.unbind()

  @doc "Releases a context of `bind(new)`."
  @spec unbind(Context.t()) :: :ok | {:error, :invalid_args}
  def unbind(%Context{} = context), do: Context.close(context)
  def unbind(_other), do: {:error, :invalid_args}

  @doc "Is the calling process bound?"
  @spec is_bound() :: boolean()
  def is_bound, do: Binding.current() != nil

  @doc """
  Runs a function of no argument, or of the context, bound to a worker of its own, and gives its result. May be nested;
  unbinds also when it raises.
  """
  @spec with_context((... -> term())) :: term()
  def with_context(fun), do: Contexts.with_context(fun)

  @doc "Calls a function in a context. Raises `context_not_bound` if that was released."
  @spec ctx_call(Context.t(), name(), name(), args()) :: result()
  def ctx_call(context, module, function, args),
    do: Contexts.within(context, fn -> call(module, function, args) end)

  @doc "With keyword arguments."
  @spec ctx_call(Context.t(), name(), name(), args(), names()) :: result()
  def ctx_call(context, module, function, args, kwargs),
    do: Contexts.within(context, fn -> call(module, function, args, kwargs) end)

  @doc "With keyword arguments and a timeout."
  @spec ctx_call(Context.t(), name(), name(), args(), names(), timeout()) :: result()
  def ctx_call(context, module, function, args, kwargs, timeout),
    do: Contexts.within(context, fn -> call(module, function, args, kwargs, timeout) end)

  @doc "Evaluates an expression in a context."
  @spec ctx_eval(Context.t(), code()) :: result()
  def ctx_eval(context, code), do: Contexts.within(context, fn -> eval(code) end)

  @doc "With variables."
  @spec ctx_eval(Context.t(), code(), names()) :: result()
  def ctx_eval(context, code, locals), do: Contexts.within(context, fn -> eval(code, locals) end)

  @doc "With variables and a timeout."
  @spec ctx_eval(Context.t(), code(), names(), timeout()) :: result()
  def ctx_eval(context, code, locals, timeout),
    do: Contexts.within(context, fn -> eval(code, locals, timeout) end)

  @doc "Executes statements in a context."
  @spec ctx_exec(Context.t(), code()) :: :ok | {:error, reason()}
  def ctx_exec(context, code), do: Contexts.within(context, fn -> exec(code) end)

  @doc "With a timeout."
  @spec ctx_exec(Context.t(), code(), timeout()) :: :ok | {:error, reason()}
  def ctx_exec(context, code, timeout),
    do: Contexts.within(context, fn -> exec(code, timeout) end)

  @doc "Sets a value of the state that Erlang and all Python workers share; kept verbatim."
  @spec state_store(term(), term()) :: :ok | {:error, reason()}
  def state_store(key, value), do: States.store(key, value)

  @doc "The value of a key."
  @spec state_fetch(term()) :: {:ok, term()} | {:error, :not_found}
  def state_fetch(key), do: States.fetch(key)

  @doc "Deletes a key, if it is there."
  @spec state_remove(term()) :: :ok
  def state_remove(key), do: State.delete(key)

  @doc "All keys, in no particular order."
  @spec state_keys() :: [term()]
  def state_keys, do: State.keys()

  @doc "Deletes everything."
  @spec state_clear() :: :ok
  def state_clear, do: State.clear()

  @doc "Adds 1 to an integer, 0 at first, and gives the new value."
  @spec state_incr(term()) :: integer() | {:error, reason()}
  def state_incr(key), do: States.add(key, 1)

  @doc "Adds so many."
  @spec state_incr(term(), integer()) :: integer() | {:error, reason()}
  def state_incr(key, by), do: States.add(key, by)

  @doc "Subtracts 1 from an integer, 0 at first, and gives the new value."
  @spec state_decr(term()) :: integer() | {:error, reason()}
  def state_decr(key), do: States.subtract(key, 1)

  @doc "Subtracts so many."
  @spec state_decr(term(), integer()) :: integer() | {:error, reason()}
  def state_decr(key, by), do: States.subtract(key, by)

  @doc """
  Lets Python call a function by a name: `erlang.call('name', 1, 2)`, `erlang.name(1, 2)`. The function gets one
  argument, the list of what Python passes: `[1, 2]`. Sets and arrays among them are lists. Keyword arguments are a
  `TypeError` in Python.

  Registering a name again replaces its function.
  """
  @spec register_function(name(), ([term()] -> term())) :: :ok | {:error, :invalid_args}
  def register_function(name, function), do: Functions.register(name, function)

  @doc "The same for `Module:Function(ListOfArguments)`."
  @spec register_function(name(), module(), atom()) :: :ok | {:error, :invalid_args}
  def register_function(name, module, function), do: Functions.register(name, {module, function})

  @doc "Takes a function away again."
  @spec unregister_function(name()) :: :ok | {:error, :invalid_args}
  def unregister_function(name), do: Functions.unregister(name)

  @doc """
  Loads a module's changed code into every worker in which it is loaded, between two requests, also of busy workers. `{error,
  [{Worker, Reason}]}` names those in which it can't be loaded, for a syntax error or because it raises: they keep the old
  code. A bare reason says that no worker was asked.
  """
  @spec reload(name()) :: :ok | {:error, [{pos_integer(), reason()}] | reason()}
  def reload(module), do: Reload.run(module)

  @doc """
  Runs calls side by side in the workers, `{Module, Function, Args}` or `{Module, Function, Args, Kwargs}`: `{ok, Results}`, with
  `{ok, Value}` or `{error, Reason}` for each, in their order. No error stops the others. Those of a bound process run in
  its worker. Two calls for each worker are under way at once, or fewer if the pool's `max_concurrent` or `max_queue` lets in no more.
  """
  @spec parallel([{name(), name(), args()} | {name(), name(), args(), names()}]) ::
          {:ok, [result()]} | {:error, reason()}
  def parallel(calls), do: Executors.parallel(calls)

  @doc "Whether `parallel/1` runs its calls at the same time: always, as each worker is a process."
  @spec subinterp_supported() :: boolean()
  # Not a plain `true`: of that Dialyzer would warn each caller who also has a way for `false`.
  def subinterp_supported, do: function_exported?(__MODULE__, :parallel, 1)

  @doc """
  How Python code runs at the same time: in processes (`multi_executor`), and with a Python without a global lock also in their
  threads (`free_threaded`). Never `subinterp`, which code written for 1.x also expects.
  """
  @spec execution_mode() :: :free_threaded | :subinterp | :multi_executor
  def execution_mode, do: Executors.mode()

  @doc "How many workers the pool has."
  @spec num_executors() :: non_neg_integer()
  def num_executors, do: Executors.count()

  @doc """
  Interrupts what a worker runs: its caller has `{error, cancelled}`, or the result of code that catches the `KeyboardInterrupt` and goes
  on to its end. `ok` too if it runs nothing. Workers are numbered from 1.
  See `ErlangPython.Pool.interrupt/2`.
  """
  @spec interrupt(pos_integer()) :: :ok | {:error, reason()}
  def interrupt(worker), do: Executors.interrupt(worker)

  @doc """
  Numbers of Python's garbage collector, summed over all workers: `gc_stats` (for each generation a map with `<<"collections">>`,
  `<<"collected">>` and `<<"uncollectable">>`), `gc_count`, and `gc_threshold`, which is that of the first worker. While
  `tracemalloc` runs also `traced_memory_current` and `traced_memory_peak`, in bytes; the second sums what may have been
  at different times.

  This and the functions below wait for busy workers, 30 seconds at most.
  """
  @spec memory_stats() :: {:ok, Memory.stats()} | {:error, reason()}
  def memory_stats, do: Memory.stats()

  @doc "Collects garbage in every worker and gives the number of objects that could not be reached."
  @spec gc() :: {:ok, non_neg_integer()} | {:error, reason()}
  def gc, do: Memory.collect(2)

  @doc "Up to a generation: 0, 1 or 2."
  @spec gc(0..2) :: {:ok, non_neg_integer()} | {:error, reason()}
  def gc(generation), do: Memory.collect(generation)

  @doc "Lets every worker trace what Python allocates, also those that start later."
  @spec tracemalloc_start() :: :ok | {:error, reason()}
  def tracemalloc_start, do: Memory.start_tracing(1)

  @doc "With so many frames of each allocation's stack, 1 to 65 535."
  @spec tracemalloc_start(pos_integer()) :: :ok | {:error, reason()}
  def tracemalloc_start(frames), do: Memory.start_tracing(frames)

  @doc "Ends it, and forgets what was traced."
  @spec tracemalloc_stop() :: :ok | {:error, reason()}
  def tracemalloc_stop, do: Memory.stop_tracing()

  @doc """
  Makes the packages of a virtual environment importable in every worker, between two requests, and in those that
  start later. It takes the place of one that was activated before. Its `.pth` files are followed, so editable
  installs count. `VIRTUAL_ENV` and `PATH` name it too.

  It must be one of the version of Python that the pool runs. What a worker has imported from elsewhere stays as it
  is. A pool whose packages are known when it starts takes them by its option `:venv` or `:python` instead, with an
  interpreter of that environment.
  """
  @spec activate_venv(name()) :: :ok | {:error, reason()}
  def activate_venv(path), do: Venv.activate(path)

  @doc """
  Takes the environment of `activate_venv/1` away again: its folders, its hooks, its variables, and the modules that
  were imported from it. `ok` too if there is none.
  """
  @spec deactivate_venv() :: :ok | {:error, reason()}
  def deactivate_venv, do: Venv.deactivate()

  @doc """
  What is active, as a map: `<<"active">>` (a boolean), `<<"venv_path">>` and `<<"site_packages">>` (a folder, `none`
  if none is active) and `<<"sys_path">>`, the folders in which Python looks for modules.
  """
  @spec venv_info() :: {:ok, %{binary() => term()}} | {:error, reason()}
  def venv_info, do: Venv.info()

  @doc """
  Puts a folder at the front of `sys.path`, with what its `.pth` files name, in every worker and in those that start
  later. A folder that is there already stays where it is.
  """
  @spec add_path(name()) :: :ok | {:error, reason()}
  def add_path(path), do: Venv.add_path(path)

  @doc "As `configure_logging/1`, with the level `info`."
  @spec configure_logging() :: :ok | {:error, reason()}
  def configure_logging, do: Logging.configure(%{})

  @doc """
  Sets the root logger of Python's `logging` in every worker, and in those that start later; its records go to Erlang's
  `logger`.

  Options, as a map or proplist: `level`, one of `debug`, `info` (default), `notice`, `warning`, `error`, `critical`, `alert`,
  `emergency` (Python has no names for the third and the last two, and takes those beside them), and `format`, a
  format of Python's `logging.Formatter` for the text of the messages (default: the message alone, because
  `logger` knows time and level itself).
  """
  @spec configure_logging(
          %{optional(:level) => atom(), optional(:format) => code()}
          | [{atom(), term()}]
        ) :: :ok | {:error, reason()}
  def configure_logging(options), do: Logging.configure(options)

  @doc "Records a span of each call, stream and callback from now on, and those of Python code; in all pools."
  @spec enable_tracing() :: :ok
  def enable_tracing, do: Telemetry.enable_tracing()

  @doc "Records no more; what was recorded stays."
  @spec disable_tracing() :: :ok
  def disable_tracing, do: Telemetry.disable_tracing()

  @doc """
  The spans that have ended, in the order in which they began. The last 10 000 are kept.

  Each is a map with `name` (binary), `kind` (`call`, `stream`, `callback`, `python`), `trace_id`, `span_id` and
  `parent_id` (hexadecimal digits as binaries; `undefined` for the first of a trace), `start_time` and `end_time`
  (microseconds since 1970), `duration_us`, `status` (`ok`, `error`, `unset`), `message` (binary or `undefined`),
  `attributes` (map with binaries as keys), `events` (list of maps with `name`, `time`, `attributes`), `pool`, and
  `worker` (an integer, or `undefined`).
  """
  @spec get_traces() :: {:ok, [map()]}
  def get_traces, do: Traces.get()

  @doc "Forgets what was recorded."
  @spec clear_traces() :: :ok
  def clear_traces, do: Telemetry.clear_traces()

  @doc "The version of the pool's Python, such as `3.11.7`, as a binary."
  @spec version() :: result()
  def version, do: Calls.version()
end
