defmodule ErlangPython.Request.Message do
  @moduledoc false
  # A request as the bytes of one ZMTP message (pure). Made in the caller's process, so
  # that encoding is as parallel as the callers are.

  alias ErlangPython.{Error, MessagePack, Protocol, Ref}
  alias ErlangPython.MessagePack.{EncodeError, Encoder}
  alias ErlangPython.Pool.{Pending, Refs}
  alias ErlangPython.Request.Options
  alias ErlangPython.ZMTP.Frame

  require Protocol

  @head_size 9

  @type t ::
          {:call, module :: String.t() | [Ref.t()], function :: String.t(), args :: list()}
          | {:eval | :exec | :run, code :: String.t(), bindings :: %{String.t() => term()} | nil}
          | {:stream_call, module :: String.t(), function :: String.t(), args :: list()}
          | {:stream_eval, code :: String.t(), bindings :: %{String.t() => term()} | nil}

  @typedoc "A request without its id."
  @type packed :: {type :: byte(), body :: iodata(), buffers :: [binary()]}

  @typedoc "A request that holds Refs, which say where it must go."
  @type with_refs :: {:refs, packed(), [Refs.passed()]}

  @doc "`nested?`: for the thread that waits in a callback."
  @spec encode(t(), pos_integer(), Options.t(), max_size :: pos_integer(), nested? :: boolean()) ::
          {:ok, iodata()} | with_refs() | {:error, Error.t()}
  def encode(request, id, options, max_size, nested? \\ false) do
    with {:ok, packed} <- pack(request, options, max_size),
         do: {:ok, frame(packed, id, nested?, options.trace)}
  end

  @doc "For a request that goes to more than one worker, or of which is not known yet where it goes."
  @spec pack(t(), Options.t(), max_size :: pos_integer()) ::
          {:ok, packed()} | with_refs() | {:error, Error.t()}
  def pack(request, options, max_size) do
    {type, body} = layout(request, options)

    with {:ok, packed, beside} <- pack_body(request, body, options.face),
         {buffers, refs} = split(beside, request),
         :ok <- check_size(packed, buffers, max_size) do
      if refs == [],
        do: {:ok, {type, packed, buffers}},
        else: {:refs, {type, packed, buffers}, refs}
    end
  end

  defp split([], _request), do: {[], []}

  defp split(beside, request) do
    {buffers, refs} = Enum.split_with(beside, &is_binary/1)

    {buffers,
     for({:ref, ref, stack} <- refs, do: {ref, fn -> path(request, Encoder.path(stack)) end})}
  end

  @doc "A packed request for a pool whose limit may be another."
  @spec address(packed(), pos_integer(), Options.t(), pos_integer(), nested? :: boolean()) ::
          {:ok, iodata()} | {:error, Error.t()}
  def address({_type, body, buffers} = packed, id, options, max_size, nested?) do
    with :ok <- check_size(body, buffers, max_size),
         do: {:ok, frame(packed, id, nested?, options.trace)}
  end

  defp frame({type, body, buffers}, id, nested?, trace) do
    head = Protocol.request_head(type, id, nested?, trace)
    head = Protocol.mark_buffers([head | body], buffers)
    Frame.encode_message([head | buffers])
  end

  @doc "Says that the request which follows was sent to the main thread before, and moves off it."
  @spec move(pos_integer()) :: iodata()
  def move(id), do: Frame.encode_message([Protocol.head(Protocol.type(:move), id)])

  @doc "A message for one worker and no other."
  @type part ::
          {:pull, stream :: pos_integer(), most :: pos_integer(), trace :: binary() | nil}
          | {:close, stream :: pos_integer()}
          | {:drop_context, pos_integer()}
          | {:release, [Pending.id()]}
          | {:request, packed()}

  @spec control(part(), pos_integer(), nested? :: boolean()) :: iodata()
  def control({:request, packed}, id, nested?), do: frame(packed, id, nested?, nil)

  def control({:pull, stream, most, trace}, id, nested?),
    do: small(Protocol.type(:pull), id, [stream, most], nested?, trace)

  def control({:close, stream}, id, nested?),
    do: small(Protocol.type(:close), id, [stream], nested?, nil)

  def control({:drop_context, context}, id, nested?),
    do: small(Protocol.type(:drop_context), id, [context], nested?, nil)

  def control({:release, ids}, id, nested?),
    do: small(Protocol.type(:release), id, [ids], nested?, nil)

  defp small(type, id, body, nested?, trace) do
    {:ok, packed, []} = MessagePack.encode(body)
    Frame.encode_message([[Protocol.request_head(type, id, nested?, trace) | packed]])
  end

  defp layout({kind, module, function, args}, options),
    do: {number(kind), [module, function, args, options.kwargs, form(options) | more(options)]}

  defp layout({kind, code, bindings}, options),
    do:
      {number(kind), [code, bindings, options.file, options.line, form(options) | more(options)]}

  # What most requests don't say.
  defp more(%{context: nil, progress: nil}), do: []
  defp more(%{context: context, progress: nil}), do: [context.id]
  defp more(%{context: context, progress: pid}), do: [context && context.id, pid]

  defp number(:call), do: Protocol.type(:call)
  defp number(:stream_call), do: Protocol.type(:stream_call)
  defp number(:stream_eval), do: Protocol.type(:stream_eval)
  defp number(:eval), do: Protocol.type(:eval)
  defp number(:exec), do: Protocol.type(:exec)
  defp number(:run), do: Protocol.type(:run)

  defp form(%{return: :ref}), do: 2
  defp form(%{face: :elixir}), do: 0
  defp form(%{face: :erlang}), do: 1

  defp pack_body(request, body, face) do
    with {:error, error} <- MessagePack.encode_request(body, face) do
      path = path(request, error.path)

      {:error,
       %Error{
         kind: :encode,
         message: "#{path}: #{Exception.message(%{error | path: []})}",
         executed: :no,
         details: %{path: path}
       }}
    end
  end

  # The body's own parts have names; what stands in them is shown as Python would index it.
  defp path({_kind, _object, _function, _args}, [0 | _steps]), do: "the Ref"
  defp path({_kind, _module, _function, _args}, [2 | steps]), do: named("args", steps)
  defp path({_kind, _module, _function, _args}, [3 | steps]), do: named("kwargs", steps)
  defp path({_kind, _code, _bindings}, [1 | steps]), do: named("bindings", steps)
  defp path(_request, steps), do: named("the request", steps)

  defp named(name, steps), do: name <> EncodeError.format_path(steps)

  defp check_size(packed, buffers, limit) do
    case @head_size + IO.iodata_length([packed | buffers]) do
      size when size <= limit ->
        :ok

      size ->
        {:error,
         %Error{
           kind: :too_large,
           message:
             "the request has #{size} bytes, the pool's :max_message_size is #{limit}: " <>
               "raise it, or let Python read and write a file, or send parts",
           executed: :no,
           details: %{size: size, limit: limit}
         }}
    end
  end
end
