defmodule ErlangPython.Request.Options do
  @moduledoc false
  # The options of one request, checked. `ErlangPython` documents them.
  #
  # `observed` and `trace` are no options: whether somebody looks at the request, and what it brings of a
  # trace (`ErlangPython.Telemetry.CallSpan`).

  alias ErlangPython.Context
  alias ErlangPython.Context.Binding
  alias ErlangPython.Pool.Configured
  alias ErlangPython.Request.Progress
  alias ErlangPython.Telemetry.TraceContext
  alias ErlangPython.UnknownOption

  @default_timeout 30_000

  # Options of some functions and not of others: who gives one to a wrong function means no keyword argument of Python's.
  @elsewhere [:display, :file, :line, :progress, :return]

  defstruct pool: nil,
            context: nil,
            timeout: @default_timeout,
            kwargs: nil,
            file: nil,
            line: 1,
            progress: nil,
            return: :value,
            # Does the request itself say in which pool it is to run?
            placed?: false,
            face: :elixir,
            traceparent: nil,
            tracestate: nil,
            observed: false,
            trace: nil

  @type face :: :elixir | :erlang
  @type t :: %__MODULE__{
          pool: atom(),
          context: Context.t() | nil,
          timeout: timeout(),
          kwargs: %{String.t() => term()} | nil,
          file: String.t() | nil,
          line: pos_integer(),
          progress: pid() | (Progress.report() -> term()) | nil,
          return: :value | :ref,
          placed?: boolean(),
          face: face(),
          traceparent: TraceContext.t() | nil,
          tracestate: String.t() | nil,
          observed: boolean(),
          trace: binary() | nil
        }

  @spec new!(keyword(), [atom()]) :: t()
  def new!([], _known), do: bound(Binding.current())

  # Not an improper list, which has no length.
  def new!(options, known) when length(options) > 0, do: put(options, known, start(options))

  def new!(options, _known), do: bad("options", "a keyword list", options)

  @doc "Would `new!/2` take them?"
  @spec valid?(term(), [atom()]) :: boolean()
  def valid?(options, known) do
    new!(options, known)
    true
  rescue
    ArgumentError -> false
  end

  defp put([{:context, context} | rest], known, acc) do
    unless :context in known, do: unknown!(:context, known)
    context = check(:context, context)
    pool = if acc.placed?, do: acc.pool, else: context.pool
    put(rest, known, %{acc | context: context, pool: pool})
  end

  defp put([{key, value} | rest], known, acc) do
    unless key in known, do: unknown!(key, known)
    put(rest, known, Map.put(acc, key, check(key, value)))
  end

  defp put([], _known, %{context: %{pool: of}, pool: pool}) when of != pool do
    raise ArgumentError,
          "the context is of the pool #{inspect(of)}, and :pool is #{inspect(pool)}: leave :pool out"
  end

  defp put([], _known, acc), do: acc
  defp put([other | _rest], _known, _acc), do: bad("options", "a keyword list", other)

  # A process that is bound to a context stays with it, unless it names something else.
  defp start(options) do
    if Keyword.keyword?(options) and Keyword.has_key?(options, :pool),
      do: %__MODULE__{placed?: true},
      else: bound(Binding.current())
  end

  defp bound(nil), do: %__MODULE__{pool: Configured.default()}
  defp bound(context), do: %__MODULE__{pool: context.pool, context: context}

  defp check(:context, %Context{} = context), do: context
  defp check(:context, value), do: bad(:context, "an ErlangPython.Context", value)

  defp check(:pool, name) when is_atom(name) and not is_nil(name), do: name
  defp check(:pool, value), do: bad(:pool, "the name of a pool", value)

  defp check(:timeout, :infinity), do: :infinity
  defp check(:timeout, ms) when is_integer(ms) and ms > 0, do: ms
  defp check(:timeout, value), do: bad(:timeout, "a positive integer (ms) or :infinity", value)

  defp check(:traceparent, nil), do: nil

  defp check(:traceparent, value) do
    case TraceContext.parse(value) do
      {:ok, context} ->
        context

      :error ->
        bad(:traceparent, "a W3C traceparent (00-<32 hex>-<16 hex>-<2 hex>) or nil", value)
    end
  end

  defp check(:tracestate, nil), do: nil

  defp check(:tracestate, value) do
    if TraceContext.state?(value),
      do: value,
      else:
        bad(:tracestate, "a W3C tracestate (printable ASCII, 8192 bytes at most) or nil", value)
  end

  defp check(:kwargs, value), do: named!(:kwargs, value)

  defp check(:file, file) do
    if is_binary(file) and String.valid?(file), do: file, else: bad(:file, "a string", file)
  end

  defp check(:line, line) when is_integer(line) and line > 0, do: line
  defp check(:line, value), do: bad(:line, "a positive integer", value)

  defp check(:progress, who) when is_pid(who) or is_function(who, 1),
    do: Progress.receiver(who)

  defp check(:progress, value), do: bad(:progress, "a pid or a function of one argument", value)

  defp check(:return, what) when what in [:value, :ref], do: what
  defp check(:return, value), do: bad(:return, ":value or :ref", value)

  @doc "A map or keyword list of Python names and their values, as a map with strings; nil if empty."
  @spec named!(atom(), term()) :: %{String.t() => term()} | nil
  def named!(_what, empty) when empty == [] or empty == %{}, do: nil

  def named!(what, names) when (is_map(names) and not is_struct(names)) or length(names) > 0 do
    named = Map.new(names, &named_pair!(what, &1))
    if map_size(named) < Enum.count(names), do: twice!(what, names)
    named
  end

  def named!(what, value), do: bad(what, "a map or keyword list", value)

  defp named_pair!(_what, {name, value}) when is_atom(name), do: {Atom.to_string(name), value}

  defp named_pair!(what, pair) do
    with {name, _value} when is_binary(name) <- pair, true <- String.valid?(name) do
      pair
    else
      _no_name -> bad(what, "a map or keyword list with names as keys", pair)
    end
  end

  @spec twice!(atom(), Enumerable.t()) :: no_return()
  defp twice!(what, names) do
    names = for {name, _value} <- names, do: to_string(name)
    [name | _others] = names -- Enum.uniq(names)
    raise ArgumentError, "the name #{inspect(name)} is given twice in #{inspect(what)}"
  end

  @spec unknown!(term(), [atom()]) :: no_return()
  defp unknown!(key, known) do
    hint =
      if :kwargs in known and key not in @elsewhere,
        do: " (Python's keyword arguments go into kwargs: [#{key}: ...])",
        else: ""

    UnknownOption.raise!("option", key, known, hint)
  end

  @spec bad(atom() | String.t(), String.t(), term()) :: no_return()
  defp bad(what, expected, value) when is_atom(what), do: bad(inspect(what), expected, value)

  defp bad(what, expected, value) do
    raise ArgumentError, "expected #{what} to be #{expected}, got: #{inspect(value)}"
  end
end
