defmodule ErlangPython.ErlPort do
  @moduledoc ~S"""
  The API of ErlPort's module `python`: code written for that keeps working when it calls this module instead.

      1> {ok, P} = 'Elixir.ErlangPython.ErlPort':start([{python_path, "priv/python"}]).
      {ok,<...>}
      2> 'Elixir.ErlangPython.ErlPort':call(P, operator, add, [2, 2]).
      4
      3> 'Elixir.ErlangPython.ErlPort':stop(P).
      ok

  An instance is a process in Erlang with a Python process of its own, a pool of one worker. It ends when that
  does. In it `import erlport` gives `erlport.erlang` and `erlport.erlterms` of this library, whatever else the
  environment has installed under that name; no other worker has the package.
  [Migrating](migrating.md#from-erlport) says what differs.

  ## Options of an instance

    * `{python, Python}` - the interpreter: a path, a name on `PATH`, a version such as `"3.12"`, or an
      `ErlangPython.Env`. The default is the variable `ERLPORT_PYTHON`, else that of all pools.
    * `{python_path, Path | [Path]}` - where Python looks for modules, after the current folder and before its own; a path
      may be several with colons between them, and a relative one belongs to `cd`.
    * `{cd, Folder}` - the working folder.
    * `{env, [{Name, Value | false}]}` - environment variables; `false` removes one.
    * `{call_timeout, Timeout}` - for calls that give none themselves; `infinity` by default.
    * `{start_timeout, Timeout}` - for the start of Python; a minute by default.
    * `{compressed, 0..9}`, `{packet, 1 | 2 | 4}`, `{buffer_size, Size}`, `use_stdio`, `nouse_stdio` - about ErlPort's
      own wire; they have no effect here.

  Texts are strings or binaries, timeouts milliseconds or `infinity`. Any other option makes the start
  return `{error, {invalid_option, Option, Text}}`.

  ## Types

  | Erlang | Python | back in Erlang |
  |---|---|---|
  | integer, float | `int`, `float` | same |
  | `true`, `false`, `undefined` | `True`, `False`, `None` | same |
  | other atom, `nil` too | `erlport.erlterms.Atom`, a `bytes` | the atom if there is one of this name, else a binary |
  | binary | `bytes` | same |
  | | `str` | a list of code points |
  | list, so strings too | `erlport.erlterms.List`, a `list` with `to_string()` | same |
  | improper list | `erlport.erlterms.ImproperList`, with its `tail` | same |
  | tuple | `tuple` | same |
  | map, struct | `erlport.erlterms.Map`, a `dict` | map |
  | pid, reference, port, function | `erlport.erlterms.OpaqueObject` | same |
  | | any other value that can be pickled | `{'$erlport.opaque', python, Data}`, which is the value again in any instance of this BEAM |

  A list or a map as the key of a map has no form in Python.
  """

  alias ErlangPython.ErlangFace.Text
  alias ErlangPython.ErlPort.{Instance, Options, Terms}
  alias ErlangPython.Request

  @type instance :: pid() | name()
  @type name :: atom() | {:local, atom()} | {:global, term()} | {:via, module(), term()}
  @type text :: charlist() | binary()
  @type option ::
          {:python, text() | term()}
          | {:python_path, text() | [text()]}
          | {:cd, text()}
          | {:env, [{text(), text() | false}]}
          | {:call_timeout, timeout()}
          | {:start_timeout, timeout()}
          | {:compressed, 0..9}
          | {:packet, 1 | 2 | 4}
          | {:buffer_size, pos_integer()}
          | :use_stdio
          | :nouse_stdio
  @type started ::
          {:ok, pid()}
          | {:error, {:invalid_option, term(), binary()} | ErlangPython.Error.t() | term()}

  @doc "Starts an instance with the default options."
  @spec start() :: started()
  def start, do: start([])

  @doc "Starts an instance. An error is `{invalid_option, Option, Text}`, or an `ErlangPython.Error` if Python can't start."
  @spec start([option()]) :: started()
  def start(options), do: start_instance(&GenServer.start/3, [], options)

  @doc "Starts an instance and registers it: an atom, `{local, Name}`, `{global, Name}` or `{via, Module, Name}`."
  @spec start(name(), [option()]) :: started()
  def start(name, options), do: start_instance(&GenServer.start/3, [name: name(name)], options)

  @doc "As `start/0`, linked to the caller."
  @spec start_link() :: started()
  def start_link, do: start_link([])

  @doc "As `start/1`, linked to the caller."
  @spec start_link([option()]) :: started()
  def start_link(options), do: start_instance(&GenServer.start_link/3, [], options)

  @doc "As `start/2`, linked to the caller."
  @spec start_link(name(), [option()]) :: started()
  def start_link(name, options),
    do: start_instance(&GenServer.start_link/3, [name: name(name)], options)

  defp start_instance(start, name, options) do
    with {:ok, options} <- Options.parse(options), do: start.(Instance, options, name)
  end

  defp name({:local, name}), do: name
  defp name(name), do: name

  @doc "Stops an instance, and what it runs."
  @spec stop(instance()) :: :ok
  def stop(instance), do: GenServer.stop(name(instance))

  @doc """
  Calls a Python function and gives its result. `Module` and `Function` are atoms, and may have dots in them.

  What Python raises is `error:{python, Class, Argument, Stacktrace}` here: the name of the class with its module, such as
  `'builtins.ValueError'`, its text as a string, and `{File, Line, Function, Code}` for each frame, the innermost first. The
  end of the time is `error:timeout`, whereupon Python is interrupted; if it does not stop within a second the instance ends. An
  instance that ends under the call is `exit:{Reason, _}`, one that is not there `exit:{noproc, _}`. What has no form
  in the other language is an error with an `ErlangPython.Error`.
  """
  @spec call(instance(), atom() | text(), atom() | text(), [term()]) :: term()
  def call(instance, module, function, args), do: call(instance, module, function, args, [])

  @doc "With `[{timeout, Timeout}]`: milliseconds or `infinity`."
  @spec call(instance(), atom() | text(), atom() | text(), [term()], [{:timeout, timeout()}]) ::
          term()
  def call(instance, module, function, args, options) when is_list(args) do
    {pid, pool, call_timeout} = instance |> name() |> Instance.place()
    timeout = timeout(options, call_timeout)
    parts = [text!(module), text!(function) | Terms.pack!(args)]
    message = {:call, "erlport._instance", "call", parts}

    # Before the request, so that the reason of its end is known.
    monitor = Process.monitor(pid)

    case Request.run(message, %Request.Options{pool: pool, timeout: timeout}) do
      {:error, %{kind: kind}} when kind in [:worker_exit, :no_pool] ->
        exit({await_end(monitor), {__MODULE__, :call, [instance, module, function, args]}})

      result ->
        Process.demonitor(monitor, [:flush])
        result(result, pid)
    end
  end

  def call(_instance, _module, _function, args, _options),
    do: raise(ArgumentError, "expected the arguments as a list, got: #{inspect(args)}")

  # An instance ends with its Python.
  defp await_end(monitor) do
    receive do
      {:DOWN, ^monitor, :process, _instance, reason} -> reason
    end
  end

  # Messages that Python sent before its result arrive before it.
  defp result({:ok, [body, sent?]}, instance) do
    if sent?, do: Instance.sync(instance)
    Terms.unpack!(body)
  end

  defp result({:error, error}, instance) do
    if error.kind in [:python, :elixir], do: Instance.sync(instance)
    Terms.fail(error)
  end

  @doc "Sends a message to the message handler of an instance (`erlport.erlang.set_message_handler`), as `Instance ! Message` does."
  @spec cast(instance(), term()) :: :ok
  def cast(instance, message), do: Instance.deliver(name(instance), Terms.pack!(message))

  defp timeout([], default), do: default

  defp timeout([{:timeout, timeout}], _default)
       when timeout == :infinity or (is_integer(timeout) and timeout > 0),
       do: timeout

  defp timeout(options, _default) do
    raise ArgumentError,
          "the only option of a call is {timeout, Milliseconds or infinity}, got: #{inspect(options)}"
  end

  defp text!(name) do
    case Text.name(name) do
      {:ok, text} ->
        text

      {:error, _invalid} ->
        raise ArgumentError, "#{inspect(name)} is no name of a module or function"
    end
  end
end
