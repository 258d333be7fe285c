defmodule ErlangPython do
  @moduledoc """
  Runs Python from Elixir, in supervised pools of Python processes.

      iex> ErlangPython.call(:math, :sqrt, [16])
      {:ok, 4.0}
      iex> ErlangPython.eval("sum(n * n for n in numbers)", %{numbers: [1, 2, 3]})
      {:ok, 14}

  Each worker is an OS process of its own with a stock CPython. Whatever Python does there (a
  segmentation fault, an endless loop, running out of memory) ends at most its own request, with
  an `ErlangPython.Error` that says so, and the pool replaces the worker.

  ## Where a request runs

  In any free worker of a pool. The pool named `:default` starts with the first request that
  needs it; see `ErlangPython.Pool` for others. Workers share nothing: what `exec/3` defines
  stays in the worker that it ran in. In a pool of one worker that is always the same one.

  ## Options

  All functions that send a request take these:

    * `:pool` (`t:atom/0`) - the pool's name. The default is `:default`.
    * `:context` (`t:ErlangPython.Context.t/0`) - where names stay from one request to the next; see
      `ErlangPython.Context`.
    * `:timeout` (`t:timeout/0`) - how long, in milliseconds, the caller waits: for a worker, for
      Python and for the answer together. When it has passed, the caller has
      `{:error, %ErlangPython.Error{kind: :timeout}}`, and Python is stopped: by an interrupt, and
      if that does not help within the pool's `:grace`, by killing the worker. The default is
      `30_000`.
    * `:traceparent` (`t:String.t/0`) - the trace that the request belongs to, as a W3C `traceparent`. By default
      that of the calling process, where it has one; see [Telemetry](telemetry.md).
    * `:tracestate` (`t:String.t/0`) - the `tracestate` that came with the `:traceparent`, which counts with that only.

  `call/4`, `eval/3`, `run/3` and `async/4` take

    * `:return` (`:value` or `:ref`) - what the caller gets: the value (default), or an `ErlangPython.Ref` to it, which
      stays in its worker.

  They and `exec/3` take

    * `:progress` (`t:pid/0` or a function) - who gets what the code reports by `erlang.progress(done, total, text)` or
      by a bar of tqdm's: a process the messages `{:python_progress, %{done: number, total: number | nil, text: string}}`, a
      function of one argument, called in a process of its own, the map. Without it, a bar is
      [drawn in a terminal](output.md#progress).

  Code given as text (`eval/3`, `exec/3`, `run/3`) takes two more:

    * `:file` (`t:String.t/0`) and `:line` (`t:pos_integer/0`) - where the code stands, for
      Python's tracebacks. Without `:file` they show the code's own lines.

  ## Names

  Modules and functions are atoms or strings, with dots where Python has them:
  `call("os.path", :join, ["a", "b"])`, `call(:pathlib, "Path.cwd")`. Python's builtins are in the
  module `:builtins`; what `exec/3` has defined is in the module `:__main__`.

  ## Values

  [Types](types.md) has the whole table. In short: numbers, strings, lists, tuples, maps, sets,
  dates and `nil` become what they are called in Python, and come back. Strings that are not UTF-8
  arrive as `bytes`; `bytes/1` forces that for any.

  ## Failures

  Python's exceptions come as `{:error, %ErlangPython.Error{kind: :python}}` with type, message
  and traceback. The other kinds are listed at `ErlangPython.Error`, and explained in [Errors and
  timeouts](errors-and-timeouts.md). The functions that end in `!` raise the same struct. A wrong
  option or argument raises `ArgumentError`.
  """

  alias ErlangPython.{Bytes, Cell, Context, Error, Iterator, Request}
  alias ErlangPython.Callbacks.Functions
  alias ErlangPython.Cell.Expansion
  alias ErlangPython.Context.Binding
  alias ErlangPython.Pool.{Broadcast, Configured, Manager}
  alias ErlangPython.Request.{Fanout, Message, Options, Text}

  @type name :: atom() | String.t()
  @type bindings :: %{optional(name()) => term()} | [{atom(), term()}]
  @type result :: {:ok, term()} | {:error, Error.t()}

  @call_options [:pool, :context, :timeout, :traceparent, :tracestate, :kwargs]
  @code_options [:pool, :context, :timeout, :traceparent, :tracestate, :file, :line]
  # Of those that give the result to the process that asks.
  @waiting_options [:progress]

  @doc """
  Calls a Python function with positional arguments, and with keyword arguments in the option
  `:kwargs` (a map or a keyword list).

      iex> ErlangPython.call(:builtins, :sorted, [[3, 1, 2]], kwargs: [reverse: true])
      {:ok, [3, 2, 1]}

  The module is imported if it has not been.
  """
  @spec call(name(), name(), list(), keyword()) :: result()
  def call(module, function, args \\ [], opts \\ []),
    do: Request.run(call_message(module, function, args, opts), call_options(opts))

  @doc "As `call/4`, but gives the value or raises `ErlangPython.Error`."
  @spec call!(name(), name(), list(), keyword()) :: term()
  def call!(module, function, args \\ [], opts \\ []),
    do: value!(call(module, function, args, opts))

  @doc """
  Evaluates one Python expression. The bindings are variables of this evaluation only.

      iex> ErlangPython.eval("[x for x in range(limit) if x % 2]", limit: 6)
      {:ok, [1, 3, 5]}
  """
  @spec eval(String.t(), bindings(), keyword()) :: result()
  def eval(expression, bindings \\ %{}, opts \\ []), do: code(:eval, expression, bindings, opts)

  @doc "As `eval/3`, but gives the value or raises `ErlangPython.Error`."
  @spec eval!(String.t(), bindings(), keyword()) :: term()
  def eval!(expression, bindings \\ %{}, opts \\ []), do: value!(eval(expression, bindings, opts))

  @doc """
  Executes statements in the namespace of the worker that takes them, where what they define
  stays. The bindings are variables of these statements only: what is to stay has to be assigned.

      iex> ErlangPython.exec("def double(n): return 2 * n", %{}, pool: :single)
      :ok
      iex> ErlangPython.call(:__main__, :double, [21], pool: :single)
      {:ok, 42}
  """
  @spec exec(String.t(), bindings(), keyword()) :: :ok | {:error, Error.t()}
  def exec(code, bindings \\ %{}, opts \\ []) do
    with {:ok, nil} <- code(:exec, code, bindings, opts), do: :ok
  end

  @doc "As `exec/3`, but raises `ErlangPython.Error`."
  @spec exec!(String.t(), bindings(), keyword()) :: :ok
  def exec!(code, bindings \\ %{}, opts \\ []) do
    with {:error, error} <- exec(code, bindings, opts), do: raise(error)
  end

  @doc """
  Executes statements as `exec/3` does; if the last one is an expression, its value is the result,
  as in a notebook's cell, and `nil` otherwise.

      iex> ErlangPython.run("import statistics\\nstatistics.median(data)", data: [1, 5, 2])
      {:ok, 2}

  With the option `display: true` the result is an `ErlangPython.Display`: how the value looks, as a table, a picture, text. What the code
  shows on its way (`erlang.display`, figures of matplotlib's) is shown by the calling process.
  """
  @spec run(String.t(), bindings(), keyword()) :: result()
  def run(code, bindings \\ %{}, opts \\ [])
  def run(code, bindings, []), do: code(:run, code, bindings, [])

  def run(code, bindings, opts) do
    {display?, opts} = pop_flag(opts, :display)
    if display?, do: display(code, bindings, opts), else: code(:run, code, bindings, opts)
  end

  defp display(code, bindings, opts) do
    known = @code_options ++ @waiting_options
    {{:run, code, bindings}, options} = code_message(:run, code, bindings, opts, known)
    Cell.display(code, bindings, options)
  end

  @doc "As `run/3`, but gives the value or raises `ErlangPython.Error`."
  @spec run!(String.t(), bindings(), keyword()) :: term()
  def run!(code, bindings \\ %{}, opts \\ []), do: value!(run(code, bindings, opts))

  @doc ~S'''
  A cell of Python in IEx and Livebook, whose variables are those of Elixir. Write it as `~PY`, after `import ErlangPython`.

      prices = [3.5, 4.25]

      ~PY"""
      total = sum(prices)
      f"{total:.2f}"
      """
      #=> "7.75"

      total
      #=> 7.75

  Variables that the code reads go in; those that it assigns or changes in place come out. The value is that of the last expression:
  as Elixir's, or as an `ErlangPython.Display` if it has a look of its own, such as a dataframe's, or no counterpart in Elixir. What
  Python raises is raised as `ErlangPython.Error`, with the file and the line of the cell; a syntax error is a `CompileError`.

  Functions, classes and imports stay in Python for the cells that follow: all cells of a process share a namespace, that of the context
  to which the process is bound or else one of its own in the pool `:default`. There is no timeout; Python stops when the process is stopped.

  Elixir 1.15 is the first that reads `~PY`. `python/2` does the same in all versions, and takes options. See
  [Notebooks](notebooks.md).
  '''
  defmacro sigil_PY(code, modifiers)

  defmacro sigil_PY(code, []),
    do: code |> Expansion.literal!(__CALLER__) |> Expansion.expand([], __CALLER__)

  defmacro sigil_PY(_code, modifiers),
    do: raise(ArgumentError, "~PY takes no modifiers, got: #{inspect(List.to_string(modifiers))}")

  @doc ~S'''
  As `sigil_PY/2`, in all versions of Elixir, and with options: `:pool`, `:context`, `:progress` and `:timeout` (`:infinity` by default).

      import ErlangPython
      words = ["fig", "apple"]

      python ~S"""
      longest = max(words, key=len)
      """

      longest
      #=> "apple"

  The code is a literal: the sigil `~S`, or a string without interpolation, in which Elixir's escapes count. Cells of one pool share a
  namespace, those of another have theirs.
  '''
  defmacro python(code, opts \\ []),
    do: code |> Expansion.literal!(__CALLER__) |> Expansion.expand(opts, __CALLER__)

  @doc """
  Calls a function, and gives what it yields as a lazy Elixir stream.

      iex> ErlangPython.stream(:itertools, :count, [1000]) |> Enum.take(3)
      [1000, 1001, 1002]

  Anything that Python can iterate over streams: generators, iterators, file objects, collections. The
  function is called when the stream is run, anew each time. Between two pulls the iterator waits in its
  worker and occupies nothing: the worker serves other requests.

  Python is asked for more only when the reader wants more: for one item, then for 1, 2, 4 and so on
  as long as they come fast. A generator runs ahead of its reader by what fits into one message (64 KiB, 4 096
  items) at most; one that is slow is read item by item.

  Halting the stream closes the generator: when `Enum.take/2` or an exception in the reader has
  ended it, the generator's `finally` and `with` blocks have run. What they raise is
  logged. The death of the process that runs the stream closes it too.

  ## Failures

  All are raised as `ErlangPython.Error`, after the items before them. `kind: :worker_exit` says that the
  worker of the stream has ended: nobody else can go on with it. An `:encode` error at an item closes the
  generator.

  ## Options

  Those of `call/4`, but for `:return` and `:progress`. `:timeout` is for each wait: for the first item, and for each further one.
  """
  @spec stream(name(), name(), list(), keyword()) :: Enumerable.t()
  def stream(module, function, args \\ [], opts \\ []) do
    {:call, module, function, args} = call_message(module, function, args, opts)
    options = Options.new!(opts, @call_options)
    ErlangPython.Stream.new({:stream_call, module, function, args}, options)
  end

  @doc """
  As `stream/4`, for the items of an expression's value.

      iex> ErlangPython.stream_eval("(n * n for n in range(limit))", limit: 4) |> Enum.to_list()
      [0, 1, 4, 9]
  """
  @spec stream_eval(String.t(), bindings(), keyword()) :: Enumerable.t()
  def stream_eval(expression, bindings \\ %{}, opts \\ []) do
    {message, options} = code_message(:stream_eval, expression, bindings, opts, @code_options)
    ErlangPython.Stream.new(message, options)
  end

  @doc """
  Starts a call and gives a `Task` whose result is what `call/4` returns.

      iex> task = ErlangPython.async(:math, :factorial, [5])
      iex> Task.await(task)
      {:ok, 120}

  Works with `Task.await/2`, `Task.await_many/2` and `Task.yield/2`. Shutting the task down, or
  the end of the process that started it, a normal one too, stops the Python side as well.
  """
  @spec async(name(), name(), list(), keyword()) :: Task.t()
  def async(module, function, args \\ [], opts \\ []) do
    message = call_message(module, function, args, opts)
    Fanout.async(message, call_options(opts))
  end

  @doc """
  Calls and forgets: nobody waits, and a failure is logged. Its options are those of `call/4`, but for `:return` and `:progress`; the default
  `:timeout` is `:infinity`.

      iex> ErlangPython.cast(:gc, :collect)
      :ok
  """
  @spec cast(name(), name(), list(), keyword()) :: :ok
  def cast(module, function, args \\ [], opts \\ []) do
    message = call_message(module, function, args, opts)
    options = Options.new!(opts, @call_options)
    timed? = Keyword.has_key?(opts, :timeout)
    Fanout.cast(message, if(timed?, do: options, else: %{options | timeout: :infinity}))
  end

  @doc """
  Calls a function for each element, over the whole pool; a stream of `{:ok, value}` and
  `{:error, error}`.

      iex> [1, 4, 9] |> ErlangPython.map(:math, :sqrt) |> Enum.to_list()
      [{:ok, 1.0}, {:ok, 2.0}, {:ok, 3.0}]

  Lazy: elements are taken and sent as results are taken. Halting the stream stops what still
  runs.

  ## Options

  Those of `call/4`, but for `:return` and `:progress`, and:

    * `:args` (function of one argument) - makes the list of arguments out of an element. By
      default the element is the only argument.
    * `:max_concurrency` (`t:pos_integer/0`) - how many calls are under way at once. The
      default is twice the number of the pool's workers, so that none of them waits, or less, if the pool's `:max_concurrent` or
      `:max_queue` lets in no more. They count all callers: an element that finds the pool full has an error of kind `:overloaded`.
    * `:ordered` (`t:boolean/0`) - whether results come in the order of the elements, or as they
      become ready. The default is `true`.
    * `:on_error` - `:collect` (default) puts errors into the stream, `:raise` raises the first.
  """
  @spec map(Enumerable.t(), name(), name(), keyword()) :: Enumerable.t()
  def map(enumerable, module, function, opts \\ []) do
    {fanout, opts} = Fanout.split!(opts, @call_options)
    options = Options.new!(opts, @call_options)
    Fanout.map(enumerable, call_message(module, function, [], opts), options, fanout)
  end

  @doc """
  Lets Python call an Elixir function by a name: `erlang.call("name", ...)`, `erlang.name(...)` or
  `from erlang import name`, from any thread.

      iex> ErlangPython.register(:add, fn a, b -> a + b end)
      :ok
      iex> ErlangPython.eval("erlang.add(1, 2)")
      {:ok, 3}

  `function` is a function that takes what Python passes as positional arguments, or `{module, name}` of such a
  function. It runs in a process of its own, which is killed if the Python request it works for is stopped.
  What it raises, throws or exits with, Python sees as `erlang.ElixirError`.

  Registering a name again replaces its function. Names are known to all pools.

  ## Options

    * `:kwargs` (`t:boolean/0`) - whether Python may pass keyword arguments. The function then takes one argument
      more, the last: a map with strings as keys. The default is `false`: they are a `TypeError` in Python.

  [Callbacks](callbacks.md) has the whole story.
  """
  @spec register(name(), function() | {module(), atom()}, keyword()) :: :ok
  def register(name, function, opts \\ []),
    do: Functions.put(Text.name!(:name, name), Functions.new!(function, opts))

  @doc "Takes a function away again. Python that calls it gets an `erlang.UnknownFunction`."
  @spec unregister(name()) :: :ok
  def unregister(name), do: Functions.delete(Text.name!(:name, name))

  @doc "The names that Python may call, sorted, as strings."
  @spec registered() :: [String.t()]
  def registered, do: Functions.names()

  @doc """
  Loads the changed code of a Python module into every worker of a pool, between two requests: `{:ok, results}`, a map
  from each worker's id to `:ok` or `{:error, error}`.

      ErlangPython.reload("shop", deep: true)
      #=> {:ok, %{1 => :ok, 2 => :ok}}

  A worker that has not imported the module has nothing to do: its first import takes the new code. One in which the
  module can't be loaded, for a syntax error or because it raises, keeps the old one whole. Of one that is not imported
  is only looked whether it is there, and of `"a.b"` only whether `a` is, since to look into a package would import it.

  As with Python's `importlib.reload`, what other modules took out of this one by `from module import name` stays theirs, and
  objects keep their old classes. `ErlangPython.Pool.restart/1` starts from nothing instead.

  `{:error, error}` says that no worker was asked (`ErlangPython.Pool.broadcast/3`).

  ## Options

    * `:deep` (`t:boolean/0`) - whether to reload the module's submodules too, each after those that it imports; all of
      them or, if one fails, none. The default is `false`.
    * `:pool`, `:timeout` - as in `call/4`; the timeout is for each worker.
  """
  @spec reload(name(), keyword()) ::
          {:ok, %{pos_integer() => :ok | {:error, Error.t()}}} | {:error, Error.t()}
  def reload(module, opts \\ []) do
    module = Text.name!(:module, module)

    {deep?, opts} = pop_flag(opts, :deep)
    options = Options.new!(opts, [:pool, :timeout])

    with {:ok, handle} <- Configured.fetch(options.pool),
         message = {:call, "erlang_python_worker._reload", "reload", [module, deep?]},
         {:ok, results} <- Broadcast.run(handle, message, options) do
      {:ok, Map.new(results, fn {id, result} -> {id, with({:ok, nil} <- result, do: :ok)} end)}
    end
  end

  @doc """
  What a pool's Python is, as a map: `:python` (version), `:implementation`, `:executable`,
  `:prefix`, `:free_threaded`, `:packages` (those the workers themselves use), `:workers` (how
  many), `:protocol` (the wire protocol's version) and `:pool`.

  Options: `:pool` and `:timeout`, as in `call/4`. Waits for the pool to be ready. Raises `ErlangPython.Error` if it can't be, or is
  not in time.
  """
  @spec info(keyword()) :: map()
  def info(opts \\ []) do
    %{pool: pool, timeout: timeout} = Options.new!(opts, [:pool, :timeout])

    with {:ok, handle} <- Configured.fetch(pool),
         :ok <- Manager.await_ready(handle, timeout) do
      Request.Info.describe(handle)
    else
      {:error, error} -> raise error
    end
  end

  @doc """
  Marks a binary to arrive in Python as `bytes`, also when it is valid UTF-8.

      iex> ErlangPython.call!(:builtins, :repr, [ErlangPython.bytes("abc")])
      "b'abc'"
  """
  @spec bytes(binary()) :: Bytes.t()
  def bytes(binary) when is_binary(binary), do: %Bytes{data: binary}

  def bytes(other), do: raise(ArgumentError, "expected a binary, got: #{inspect(other)}")

  @doc """
  Binds the calling process to a context of its own (`ErlangPython.Context`; the same options), where its calls go from
  now on, unless they name a `:pool` or a `:context`. `:ok` also if it is bound already; options that say another `:pool` or `:mode`
  than it is bound to are an `ArgumentError`.

      iex> ErlangPython.bind()
      :ok
      iex> ErlangPython.exec("x = 20")
      :ok
      iex> ErlangPython.eval("x + 1")
      {:ok, 21}
      iex> ErlangPython.unbind()
      :ok

  The end of the process ends the binding.
  """
  @spec bind(keyword()) :: :ok | {:error, Error.t()}
  def bind(opts \\ []), do: Binding.bind(opts)

  @doc "Ends what `bind/1` began: the context is closed, and its names are gone."
  @spec unbind() :: :ok
  def unbind, do: Binding.unbind()

  @doc "Is the calling process bound to a context?"
  @spec bound?() :: boolean()
  def bound?, do: Binding.current() != nil

  @doc """
  Runs a function, of no argument or of the context, bound to a context of its own, which is closed after it, also when it
  raises. May be nested. Gives what the function gives.

      iex> ErlangPython.with_context(fn ->
      ...>   ErlangPython.exec!("x = 1")
      ...>   ErlangPython.eval!("x")
      ...> end)
      1

  Options are those of `ErlangPython.Context.open/1`. Raises `ErlangPython.Error` if no context can be opened.
  """
  @spec with_context((... -> result), keyword()) :: result when result: term()
  def with_context(fun, opts \\ [])

  def with_context(fun, opts) when is_function(fun, 0) or is_function(fun, 1) do
    case Binding.with_new(fun, opts) do
      {:ok, result} -> result
      {:error, error} -> raise error
    end
  end

  def with_context(other, _opts) do
    raise ArgumentError,
          "expected a function of no argument, or of the context, got: #{inspect(other)}"
  end

  @doc """
  An enumerable that Python iterates lazily, with back-pressure, from any thread.

      iex> numbers = Stream.iterate(1, & &1 * 2)
      iex> ErlangPython.eval("next(x for x in numbers if x > 1000)",
      ...>   numbers: ErlangPython.iterator(numbers))
      {:ok, 1024}

  Pass it as an argument or a binding, or return it from a function that Python calls. In Python it is an
  `erlang.Iterator`. Elements are computed in a process of their own when Python asks for them: one at first, then up
  to 256 at once, fewer if they come slowly. When Python breaks off, or lets go of the iterator, the enumeration is halted, so that
  `Stream.resource/3` closes what it has open; an element that raises is an `erlang.ElixirError` there. It
  ends with the process that passed it in; one that a function has returned, with the worker that got it. A value that
  is passed twice is enumerated twice.
  """
  @spec iterator(Enumerable.t()) :: Iterator.t()
  def iterator(enumerable) do
    unless Enumerable.impl_for(enumerable),
      do: raise(ArgumentError, "expected an enumerable, got: #{inspect(enumerable)}")

    %Iterator{enumerable: enumerable}
  end

  @doc """
  One of the floats that Elixir does not have: `:nan`, `:infinity` or `:neg_infinity`. They come
  back from Python as those atoms.

      iex> ErlangPython.call!(:math, :isnan, [ErlangPython.float(:nan)])
      true
  """
  @spec float(:nan | :infinity | :neg_infinity | float()) :: ErlangPython.Float.t()
  def float(value) when value in [:nan, :infinity, :neg_infinity] or is_float(value),
    do: %ErlangPython.Float{value: value}

  def float(other) do
    raise ArgumentError,
          "expected :nan, :infinity, :neg_infinity or a float, got: #{inspect(other)}"
  end

  defp call_options(opts), do: Options.new!(opts, @call_options ++ [:return | @waiting_options])

  # What is no keyword list is refused with the other options.
  defp pop_flag(opts, key) do
    {flag, opts} =
      if Keyword.keyword?(opts), do: Keyword.pop(opts, key, false), else: {false, opts}

    unless is_boolean(flag),
      do: raise(ArgumentError, "expected #{inspect(key)} to be a boolean, got: #{inspect(flag)}")

    {flag, opts}
  end

  defp code(kind, code, bindings, opts) do
    {message, options} = code_message(kind, code, bindings, opts, known(kind))
    Request.run(message, options)
  end

  # `exec` has no value.
  defp known(:exec), do: @code_options ++ @waiting_options
  defp known(_valued), do: @code_options ++ [:return | @waiting_options]

  # `exec(code, timeout: 100)`: the options stand where the bindings are, and would count for
  # nothing.
  defp code_message(kind, _code, [{key, value} | _] = bindings, [], _known)
       when key in [:pool, :timeout] or (key == :context and is_struct(value, Context)) do
    raise ArgumentError,
          "#{inspect(bindings)} are bindings, the variables of the code: give options after " <>
            "them, as in #{kind}(code, %{}, #{key}: ...), or variables of this name as a map"
  end

  defp code_message(kind, code, bindings, opts, known) do
    message = {kind, Text.code!(code), Options.named!(:bindings, bindings)}
    {message, Options.new!(opts, known)}
  end

  @spec call_message(name(), name(), list(), keyword()) :: Message.t()
  defp call_message(module, function, args, opts) when is_list(args) do
    if opts == [], do: refuse_options(module, function, args)
    {:call, Text.name!(:module, module), Text.name!(:function, function), args}
  end

  defp call_message(_module, _function, args, _opts),
    do: raise(ArgumentError, "expected the arguments as a list, got: #{inspect(args)}")

  # `call(module, function, pool: :ml)`: the options stand where the arguments are. A tuple that only begins like one,
  # such as a message `{:timeout, ref}`, is an argument.
  defp refuse_options(module, function, [{key, _value} | _] = args)
       when key in [:pool, :timeout, :kwargs, :context] do
    if Options.valid?(args, @call_options) do
      raise ArgumentError,
            "#{inspect(args)} are arguments of the function: give options after them, as in " <>
              "call(#{inspect(module)}, #{inspect(function)}, [], #{key}: ...)"
    end
  end

  defp refuse_options(_module, _function, _args), do: :ok

  defp value!({:ok, value}), do: value
  defp value!({:error, error}), do: raise(error)
end
