defmodule ErlangPython.MessagePack.Marked do
  @moduledoc false
  # What the items of a marked array make (docs/protocol.md, "Marked arrays").

  import ErlangPython.MessagePack.Extension, only: [type: 1]

  alias ErlangPython.Error
  alias ErlangPython.ErlangFace.Reason
  alias ErlangPython.MessagePack.{DecodeError, Handle, Regexes, Rows, Tensors, Times}

  @doc """
  `null` is what nil was decoded to.
  """
  @spec build(integer(), [term()], nil | :none | :undefined) ::
          {:ok, term()} | {:error, DecodeError.reason()}
  def build(type(:tuple), items, _null), do: {:ok, List.to_tuple(items)}

  # Erlang has no sets, and arrays are lists there.
  def build(type(:set), items, :none), do: {:ok, items}

  def build(type(:set), items, _null) do
    set = MapSet.new(items)
    if MapSet.size(set) == length(items), do: {:ok, set}, else: {:error, :duplicate_key}
  end

  def build(type(:range), [first, last, step], _null)
      when is_integer(first) and is_integer(last) and is_integer(step) and step != 0,
      do: {:ok, Range.new(first, last, step)}

  def build(type, items, null) do
    with :error <- make(type, items, null), do: {:error, DecodeError.extension(type)}
  end

  defp make(type(:datetime), items, _null), do: Times.datetime(items)
  defp make(type(:regex), [pattern, flags], _null), do: Regexes.compile(pattern, flags)
  defp make(type(:rows), [keys | rows], _null), do: Rows.maps(keys, rows)
  defp make(type(:tensor), [dtype, shape, data], :none), do: Tensors.list(dtype, shape, data)
  defp make(type(:tensor), [dtype, shape, data], _null), do: Tensors.make(dtype, shape, data)
  defp make(type(:exception), items, null), do: exception(items, null)
  defp make(type(:improper_list), items, :undefined), do: improper(items)

  # Sealed: what Python unpickles later must have been pickled by a worker of this BEAM.
  defp make(type(:python_object), [pickle], :undefined) when is_binary(pickle),
    do: {:ok, {:"$erlport.opaque", :python, Handle.seal(pickle)}}

  defp make(_type, _items, _null), do: :error

  defp exception([type, message, frames, cause, relation, notes, formatted], null)
       when is_binary(type) and is_binary(message) and is_binary(formatted) and
              is_list(frames) and is_list(notes) do
    with {:ok, frames} <- all(frames, &frame(&1, null)),
         {:ok, cause} <- cause(cause, null),
         {:ok, relation} <- relation(relation, null),
         true <- Enum.all?(notes, &is_binary/1),
         true <- Enum.all?([type, message], &String.valid?/1) do
      error = %Error{
        kind: :python,
        type: type,
        message: message,
        traceback: frames,
        cause: cause,
        notes: notes,
        executed: :yes,
        details: %{formatted: formatted, relation: relation}
      }

      {:ok, if(null == :none, do: Reason.of(error), else: error)}
    else
      _invalid -> :error
    end
  end

  defp exception(_items, _null), do: :error

  defp improper(items) do
    case Enum.reverse(items) do
      [tail, last | before] when not is_list(tail) ->
        {:ok, List.foldl(before, [last | tail], &[&1 | &2])}

      _proper ->
        :error
    end
  end

  defp frame([file, line, function, null], null) when null in [nil, :none],
    do: frame(file, line, function, nil)

  defp frame([file, line, function, code], _null) when is_binary(code),
    do: frame(file, line, function, code)

  defp frame(_frame, _null), do: :error

  defp frame(file, line, function, code)
       when is_binary(file) and is_integer(line) and is_binary(function),
       do: {:ok, %{file: file, line: line, function: function, code: code}}

  defp frame(_file, _line, _function, _code), do: :error

  defp cause(null, null), do: {:ok, nil}
  defp cause(%Error{} = cause, _null), do: {:ok, cause}
  # A reason says nothing of it.
  defp cause(cause, :none) when is_tuple(cause), do: {:ok, nil}
  defp cause(_cause, _null), do: :error

  defp relation(null, null), do: {:ok, nil}
  defp relation("cause", _null), do: {:ok, :cause}
  defp relation("context", _null), do: {:ok, :context}
  defp relation(_relation, _null), do: :error

  defp all(items, fun) do
    made = Enum.map(items, fun)
    if :error in made, do: :error, else: {:ok, Enum.map(made, &elem(&1, 1))}
  end
end
