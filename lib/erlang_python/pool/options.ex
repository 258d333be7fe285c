defmodule ErlangPython.Pool.Options do
  @moduledoc false
  # The options of a pool, checked once at start. `ErlangPython.Pool` documents them.

  alias ErlangPython.{Charlist, Env, UnknownOption}

  @mebibyte 1024 * 1024

  defstruct name: nil,
            workers: nil,
            max_overflow: 0,
            max_queue: 10_000,
            max_concurrent: :infinity,
            python: nil,
            venv: nil,
            env: [],
            cd: nil,
            paths: [],
            preload: [],
            start_timeout: 60_000,
            grace: 1_000,
            heartbeat: nil,
            max_requests: :infinity,
            max_memory: :infinity,
            max_message_size: 256 * @mebibyte,
            stdout: :caller,
            stdin: :none,
            reload: :manual,
            window: :auto,
            endpoint: :ipc,
            channel: :direct,
            lazy: false

  @type t :: %__MODULE__{
          name: term(),
          workers: pos_integer(),
          max_overflow: non_neg_integer(),
          max_queue: non_neg_integer(),
          max_concurrent: pos_integer() | :infinity,
          python: String.t() | Env.t() | nil,
          venv: Path.t() | nil,
          env: [{String.t(), String.t() | nil}],
          cd: Path.t() | nil,
          paths: [String.t()],
          preload: [{:module | :code, String.t()}],
          start_timeout: timeout(),
          grace: pos_integer(),
          heartbeat: pos_integer() | nil,
          max_requests: pos_integer() | :infinity,
          max_memory: pos_integer() | :infinity,
          max_message_size: pos_integer(),
          stdout: :caller | :logger | :ignore,
          stdin: :none | :caller,
          reload: :manual | :auto,
          window: :auto | pos_integer(),
          endpoint: :ipc | :tcp,
          channel: :direct | :pyzmq,
          lazy: boolean()
        }

  # The slots of a pool are laid out once; scale/2 moves within them.
  @max_workers 1024

  # The worker remembers the last 1,024 requests it began, to tell a finished one from
  # one that has not come yet; a window must stay well inside that.
  @max_window 256

  # What `receive` takes, also with what a supervisor adds to it: after 46 days nobody waits any more.
  @longest_ms 4_000_000_000

  # A frame has a 9-byte head, and error texts must always fit.
  @min_message_size 65_536

  # What the application may say for all of its pools: which Python, and whether it follows its files.
  @of_application [:python, :venv, :env, :cd, :paths, :preload, :reload]

  # What must be a list, and of what.
  @lists %{
    paths: "a list of folders",
    env: "a map or list of variables",
    preload: "a list of modules and {:code, text}"
  }

  # What other libraries call it, and where the names are too far apart to be taken for slips.
  @elsewhere %{
    size: "workers: a number",
    pool_size: "workers: a number",
    max_size: "workers: a number",
    max_workers: "workers: a number",
    executable: "python: a path",
    interpreter: "python: a path",
    python_executable: "python: a path",
    python_version: ~S(python: "3.12"),
    python_path: "paths: a list of folders",
    pythonpath: "paths: a list of folders",
    requirements: "python: {:requirements, a list or a path}",
    packages: "python: {:requirements, a list}",
    pyproject: "python: {:uv, a path}",
    pyproject_toml: "python: {:uv, a path}",
    environment: "env: a map",
    cwd: "cd: a folder",
    init: "preload: [code: text]",
    init_script: "preload: [code: text]",
    timeout: "start_timeout: ms, and :timeout belongs to each call"
  }

  @spec max_workers() :: pos_integer()
  def max_workers, do: @max_workers

  @spec max_window() :: pos_integer()
  def max_window, do: @max_window

  @doc """
  Checks a keyword list. Raises `ArgumentError` that names the option, what it must be and
  what it was.
  """
  @spec new!(keyword()) :: t()
  def new!(options) do
    unless Keyword.keyword?(options) do
      raise ArgumentError, "expected pool options as a keyword list, got: #{inspect(options)}"
    end

    options =
      @of_application
      |> Enum.flat_map(&application_default/1)
      |> merge(options)
      |> Keyword.put_new_lazy(:workers, &System.schedulers_online/0)

    known = %__MODULE__{} |> Map.from_struct() |> Map.keys() |> Enum.sort()

    keys = Keyword.keys(options)

    case {Enum.uniq(keys) -- known, keys -- Enum.uniq(keys)} do
      {[], []} ->
        :ok

      {[unknown | _others], _twice} when is_map_key(@elsewhere, unknown) ->
        raise ArgumentError,
              "unknown pool option #{inspect(unknown)}, here it is `#{@elsewhere[unknown]}`"

      {[unknown | _others], _twice} ->
        UnknownOption.raise!("pool option", unknown, known)

      {[], [twice | _others]} ->
        raise ArgumentError, "the pool option #{inspect(twice)} is given twice"
    end

    Enum.reduce(options, %__MODULE__{}, fn {key, value}, acc ->
      Map.put(acc, key, check(key, value))
    end)
    |> require_name()
    |> check_total()
    |> check_python()
  end

  @doc """
  Options over those that hold where they say nothing. `:python` and `:venv` both say which Python, so one of them takes
  the place of the other.
  """
  @spec merge(defaults :: keyword(), keyword()) :: keyword()
  def merge(defaults, options) do
    others = for {one, other} <- [python: :venv, venv: :python], options[one], do: other
    defaults |> Keyword.drop(others) |> Keyword.merge(options)
  end

  defp application_default(key) do
    case Application.fetch_env(:erlang_python, key) do
      {:ok, value} -> [{key, value}]
      :error -> []
    end
  end

  @doc "Raises unless it is a number of workers that a pool can have."
  @spec check_workers!(term()) :: pos_integer()
  def check_workers!(value), do: check(:workers, value)

  defp require_name(%{name: nil}), do: raise(ArgumentError, "a pool needs the option :name")
  defp require_name(options), do: options

  defp check_total(%{workers: workers, max_overflow: max}) when workers + max > @max_workers,
    do: bad(:max_overflow, "at most #{@max_workers - workers} beside #{workers} workers", max)

  defp check_total(options), do: options

  defp check_python(%{python: python, venv: venv}) when python != nil and venv != nil do
    raise ArgumentError,
          "expected a pool to have :python or :venv, got both: #{inspect(venv)} has an interpreter of its own"
  end

  defp check_python(options), do: options

  defp check(:name, name) when is_atom(name) and not is_nil(name), do: name
  defp check(:name, value), do: bad(:name, "an atom", value)

  defp check(:workers, n) when is_integer(n) and n in 1..@max_workers, do: n
  defp check(:workers, value), do: bad(:workers, "an integer from 1 to #{@max_workers}", value)

  defp check(key, n) when key in [:max_queue, :max_overflow] and is_integer(n) and n >= 0, do: n

  defp check(key, value) when key in [:max_queue, :max_overflow],
    do: bad(key, "a non-negative integer", value)

  defp check(key, :infinity)
       when key in [:max_concurrent, :max_requests, :max_memory, :start_timeout],
       do: :infinity

  defp check(key, n) when key in [:start_timeout, :grace] and is_integer(n) and n > 0,
    do: min(n, @longest_ms)

  defp check(key, n)
       when key in [:max_concurrent, :max_requests, :max_memory] and is_integer(n) and n > 0,
       do: n

  defp check(:grace, value), do: bad(:grace, "a positive integer (ms)", value)

  defp check(key, value)
       when key in [:max_concurrent, :max_requests, :max_memory, :start_timeout],
       do: bad(key, "a positive integer or :infinity", value)

  defp check(:heartbeat, nil), do: nil
  defp check(:heartbeat, n) when is_integer(n) and n > 0, do: min(n, @longest_ms)
  defp check(:heartbeat, value), do: bad(:heartbeat, "a positive integer (ms) or nil", value)

  defp check(:max_message_size, n) when is_integer(n) and n >= @min_message_size, do: n

  defp check(:max_message_size, value),
    do: bad(:max_message_size, "an integer of at least #{@min_message_size} bytes", value)

  defp check(:window, :auto), do: :auto
  defp check(:window, n) when is_integer(n) and n in 1..@max_window, do: n

  defp check(:window, value),
    do: bad(:window, ":auto or an integer from 1 to #{@max_window}", value)

  defp check(:stdout, value) when value in [:caller, :logger, :ignore], do: value
  defp check(:stdout, value), do: bad(:stdout, ":caller, :logger or :ignore", value)

  defp check(:stdin, value) when value in [:none, :caller], do: value
  defp check(:stdin, value), do: bad(:stdin, ":none or :caller", value)

  defp check(:reload, value) when value in [:manual, :auto], do: value
  defp check(:reload, value), do: bad(:reload, ":manual or :auto", value)

  defp check(:channel, value) when value in [:direct, :pyzmq], do: value
  defp check(:channel, value), do: bad(:channel, ":direct or :pyzmq", value)

  defp check(:endpoint, value) when value in [:ipc, :tcp], do: value
  defp check(:endpoint, value), do: bad(:endpoint, ":ipc or :tcp", value)

  defp check(:lazy, value) when is_boolean(value), do: value
  defp check(:lazy, value), do: bad(:lazy, "a boolean", value)

  defp check(key, nil) when key in [:python, :venv, :cd], do: nil

  defp check(:python, value) when not is_binary(value) do
    if Charlist.text?(value) do
      text(:python, value)
    else
      Env.cast!(value) ||
        bad(:python, "a path, a version, or an environment (ErlangPython.Env)", value)
    end
  end

  defp check(key, value) when key in [:python, :venv], do: text(key, value)
  defp check(:cd, value), do: folder(:cd, value)

  # One string of Erlang's, in the place of a list of them.
  defp check(key, [char | _rest] = value) when is_map_key(@lists, key) and is_integer(char),
    do: bad(key, @lists[key], value)

  # Improper lists have no length.
  defp check(:paths, paths) when length(paths) >= 0, do: Enum.map(paths, &folder(:paths, &1))

  defp check(:env, env) when is_map(env) or length(env) >= 0, do: Enum.map(env, &variable/1)

  defp check(:preload, preload) when length(preload) >= 0, do: Enum.map(preload, &preload/1)

  defp check(key, value) when is_map_key(@lists, key), do: bad(key, @lists[key], value)

  defp text(key, value) do
    text = Charlist.to_text(value)

    if text?(text) and text != "",
      do: text,
      else: bad(key, "a non-empty string, of UTF-8 without null bytes", value)
  end

  # Here, because the worker's current folder is another where there is a `:cd`.
  defp folder(key, value), do: key |> text(value) |> Path.expand()

  # What comes to the operating system ends at a null byte.
  defp text?(value),
    do: is_binary(value) and String.valid?(value) and not String.contains?(value, <<0>>)

  defp variable({name, value} = pair) when is_binary(name) or is_atom(name) do
    {name, value} = {to_string(name), value && written(value)}

    if text?(name) and name != "" and not String.contains?(name, "=") and
         (value == nil or text?(value)),
       do: {name, value},
       else: bad(:env, "names without \"=\" and values, of UTF-8 without null bytes", pair)
  end

  defp variable({[_ | _] = name, value} = pair) do
    if Charlist.text?(name),
      do: variable({List.to_string(name), value}),
      else: bad(:env, "pairs of a name and a value or nil", pair)
  end

  defp variable(value), do: bad(:env, "pairs of a name and a value or nil", value)

  defp written(value) do
    to_string(value)
  rescue
    # A tuple, or a list that is no text.
    _no_text in [Protocol.UndefinedError, ArgumentError, UnicodeConversionError] ->
      bad(:env, "pairs of a name and a value that is text or a number, or nil", value)
  end

  defp preload({:code, code}) do
    text = Charlist.to_text(code)

    if is_binary(text) and String.valid?(text),
      do: {:code, text},
      else: bad(:preload, "code in UTF-8", {:code, code})
  end

  defp preload(module) when is_atom(module) and not is_nil(module),
    do: {:module, Atom.to_string(module)}

  defp preload(module) do
    module = Charlist.to_text(module)

    # Statements, which want `{:code, text}`.
    if text?(module) and module != "" and not String.match?(module, ~r/[\s(=]/),
      do: {:module, module},
      else: bad(:preload, "modules and {:code, text}", module)
  end

  @spec bad(atom(), String.t(), term()) :: no_return()
  defp bad(key, expected, value) do
    raise ArgumentError, "expected #{inspect(key)} to be #{expected}, got: #{inspect(value)}"
  end
end
